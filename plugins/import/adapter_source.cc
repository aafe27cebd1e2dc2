// A PEFT folder as a version: the adapter's tensors and configuration as they are, so that it can be exported again,
// and attributes that tell what it is.
#include "plugins/import/source.h"
#include "plugins/lib/formats/adapter.h"
#include "plugins/lib/formats/convert.h"
#include "plugins/lib/formats/safetensors.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::importer {
namespace {

// What is kept beside the tensors: an adapter for new tokens brings its tokenizer.
constexpr std::string_view kKept[] = {formats::kAdapterConfig, "tokenizer.json",          "tokenizer_config.json",
                                      "chat_template.jinja",   "special_tokens_map.json", "added_tokens.json"};

absl::Status AllOf(std::string_view name, const std::vector<std::string>& problems) {
  if (problems.empty()) return absl::OkStatus();
  std::string message = StrCat(name, ": ");
  for (size_t i = 0; i < problems.size(); ++i) StrAppend(&message, i == 0 ? "" : "\n  ", problems[i]);
  return absl::InvalidArgumentError(message);
}

}  // namespace

absl::StatusOr<Understood> UnderstandAdapter(const std::vector<formats::NamedBytes>& folder, std::string_view name,
                                             v1::StoreAs store_as) {
  const formats::NamedBytes *config_file = nullptr, *weights = nullptr;
  std::string_view pickle;
  Understood out;
  for (const formats::NamedBytes& file : folder) {
    if (file.name == formats::kAdapterConfig) config_file = &file;
    if (file.name == formats::kAdapterWeights) weights = &file;
    if (file.name == "adapter_model.bin") pickle = file.name;
    for (const std::string_view kept : kKept) {
      if (file.name == kept) out.files.emplace_back(std::string(file.name), std::string(file.bytes));
    }
  }
  const auto error = [&](std::string_view what) { return absl::InvalidArgumentError(StrCat(name, ": ", what)); };
  if (weights == nullptr) {
    if (pickle.empty()) return error(StrCat("has no ", formats::kAdapterWeights, "; the download is incomplete"));
    return error(StrCat("has its weights in ", pickle,
                        ", a pickle file, which is not read; convert it to safetensors (PEFT's save_pretrained does)"));
  }
  ASSIGN_OR_RETURN(const formats::AdapterConfig config,
                   formats::ReadAdapterConfig(config_file->bytes, StrCat(name, "/", formats::kAdapterConfig)));
  const std::string where = StrCat(name, "/", formats::kAdapterWeights);
  ASSIGN_OR_RETURN(formats::SafetensorsHeader header, formats::ReadSafetensors(weights->bytes, where));
  std::vector<formats::AdapterTensor> tensors;
  std::vector<std::string> problems;
  for (formats::SafetensorsEntry& entry : header.tensors) {
    entry.name = formats::CanonicalAdapterTensorName(entry.name);
    tensors.push_back({entry.name, entry.shape});
    if (!formats::Convertible(entry.dtype)) {
      problems.push_back(
          StrCat("tensor \"", entry.name, "\" is ", DTypeName(entry.dtype), "; F32, F16 and BF16 can be read"));
    }
  }
  const formats::AdapterLayout layout = formats::LayOutAdapter(tensors, &problems);
  formats::CheckAdapterConfig(config, tensors, layout, &problems);
  RETURN_IF_ERROR(AllOf(where, problems));

  out.format = "PEFT";
  out.attributes = formats::DescribeAdapter(config, layout);
  for (const formats::SafetensorsEntry& entry : header.tensors) {
    out.tensors.push_back(
        Source({entry.name, entry.dtype, entry.shape, weights->bytes.substr(entry.offset, entry.size)}, store_as));
  }
  if (config.base_model.empty())
    out.remarks.push_back("adapter_config.json does not say which model it was trained on");
  return out;
}

}  // namespace editd::importer
