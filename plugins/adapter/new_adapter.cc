#include "plugins/adapter/new_adapter.h"

#include <algorithm>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

std::string LastPart(std::string_view module) {
  const size_t dot = module.rfind('.');
  return std::string(dot == std::string_view::npos ? module : module.substr(dot + 1));
}

bool InLayers(std::string_view module) { return module.find(".layers.") != std::string_view::npos; }

}  // namespace

absl::Status NewAdapter::AddTensor(std::string name, std::vector<int64_t> shape, const std::vector<float>& values) {
  RETURN_IF_ERROR(job_.AddTensor(name, DTypeName(DType::kF32), shape, values.data(), values.size() * sizeof(float)));
  tensors_.emplace_back(std::move(name), std::move(shape));
  return absl::OkStatus();
}

absl::Status NewAdapter::AddModule(const std::string& module, bool embedding, const Factors& factors) {
  const auto rank = static_cast<int64_t>(factors.rank);
  ranks_[module] = rank;
  targets_.insert(LastPart(module));
  const char *a = embedding ? "lora_embedding_A" : "lora_A.weight",
             *b = embedding ? "lora_embedding_B" : "lora_B.weight";
  RETURN_IF_ERROR(
      AddTensor(formats::AdapterTensorName(module, a), {rank, static_cast<int64_t>(factors.columns)}, factors.a));
  return AddTensor(formats::AdapterTensorName(module, b), {static_cast<int64_t>(factors.rows), rank}, factors.b);
}

absl::Status NewAdapter::AddSaved(const std::string& target, const Tensor& tensor) {
  const size_t dot = target.rfind('.');
  const std::string module = target.substr(0, dot), parameter = target.substr(dot + 1);
  const bool has_factors = ranks_.count(module) != 0;
  if (parameter == "bias") {
    biases_ = true;
  } else if (!has_factors) {
    // PEFT compares the ends of paths, without a dot: "norm" would take all norms.
    saved_.insert(InLayers(module) ? LastPart(module) : module);
  }
  const std::string name = formats::AdapterTensorName(module, has_factors ? "base_layer." + parameter : parameter);
  RETURN_IF_ERROR(job_.Reuse(tensor, name));
  tensors_.emplace_back(name, std::vector<int64_t>(tensor.shape.begin(), tensor.shape.end()));
  return absl::OkStatus();
}

absl::Status NewAdapter::Finish(formats::AdapterConfigText text) {
  std::map<int64_t, int> uses;
  for (const auto& [module, rank] : ranks_) ++uses[rank];
  for (const auto& [rank, count] : uses) {
    if (text.rank == 0 || count > uses[text.rank]) text.rank = rank;
  }
  if (text.rank == 0) text.rank = 1;  // Tensors in full alone; PEFT asks for a rank.
  text.alpha = static_cast<double>(text.rank);
  for (const auto& [module, rank] : ranks_) {
    if (rank != text.rank) text.rank_pattern.emplace_back(module, rank);
  }
  if (text.targets.empty()) text.targets.assign(targets_.begin(), targets_.end());
  text.saved.assign(saved_.begin(), saved_.end());
  if (biases_) text.bias = "all";
  const std::string config = formats::WriteAdapterConfig(text);
  RETURN_IF_ERROR(job_.AddFile(formats::kAdapterConfig, config));

  ASSIGN_OR_RETURN(const formats::AdapterConfig read, formats::ReadAdapterConfig(config, formats::kAdapterConfig));
  std::vector<formats::AdapterTensor> tensors;
  for (const auto& [name, shape] : tensors_) tensors.push_back({name, shape});
  std::vector<std::string> problems;
  const formats::AdapterLayout layout = formats::LayOutAdapter(tensors, &problems);
  formats::CheckAdapterConfig(read, tensors, layout, &problems);
  if (!problems.empty()) return job_.Refuse(StrCat("the adapter that was made is wrong: ", problems[0]));
  for (const auto& [key, value] : formats::DescribeAdapter(read, layout)) {
    RETURN_IF_ERROR(job_.SetAttribute(key, value));
  }
  return absl::OkStatus();
}

}  // namespace editd::adapter
