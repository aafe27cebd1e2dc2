// Tensors that are equal byte for byte cost a comparison. Of a linear layer that differs, tuned - base is cut to a rank
// (low_rank.h), and how far B A is from it is measured once more at the end. What else differs is saved in full, by
// reference.
//
// In a model whose head is its embedding, PEFT treats the two as modules of their own: what one of them gets the other
// must be given as well.
#include "plugins/adapter/extract.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "plugins/adapter/low_rank.h"
#include "plugins/adapter/new_adapter.h"
#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/convert.h"
#include "storage/base/nearest.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

constexpr uint32_t kDefaultRank = 16;
constexpr uint64_t kPiece = 8 << 20;  // Bytes compared at a time.

std::string_view ModuleOf(std::string_view tensor) { return tensor.substr(0, tensor.rfind('.')); }

bool IsHead(std::string_view tensor) { return tensor == formats::kHead; }

// A matrix of a linear layer, by its form.
bool IsLinear(const Tensor& tensor) {
  return tensor.shape.size() == 2 && tensor.name.ends_with(".weight") && !IsEmbeddingName(tensor.name) &&
         !IsHead(tensor.name);
}

bool GetsFactors(const v1::Extract& spec, const Tensor& tensor) {
  if (IsEmbeddingName(tensor.name) || IsHead(tensor.name))
    return spec.embeddings_low_rank() && tensor.shape.size() == 2;
  if (!IsLinear(tensor)) return false;
  const std::string_view last = LayerName(tensor.name);
  return spec.target().empty() || std::find(spec.target().begin(), spec.target().end(), last) != spec.target().end();
}

// A model's tensor; a head that is the embedding is found as that.
const Tensor* Find(const Model& model, std::string_view name) {
  const Tensor* tensor = model.FindTensor(name);
  return tensor == nullptr && IsHead(name) ? model.FindTensor(formats::kEmbedding) : tensor;
}

bool Tied(const Model& model) {
  return model.FindTensor(formats::kHead) == nullptr && model.FindTensor(formats::kEmbedding) != nullptr;
}

bool SameBytes(const Tensor& x, const Tensor& y, Job& job) {
  if (x.dtype != y.dtype || x.size != y.size) return false;
  if (x.data == y.data) return true;
  for (uint64_t at = 0; at < x.size; at += kPiece) {
    const std::string_view own = x.bytes().substr(at, kPiece), other = y.bytes().substr(at, kPiece);
    const bool same = own == other;
    job.Release(own);
    job.Release(other);
    if (!same) return false;
  }
  return true;
}

class Extractor {
 public:
  Extractor(const v1::Extract& spec, const Model& base, const Model& tuned, Job& job, v1::AdapterResult* result)
      : spec_(spec), base_(base), tuned_(tuned), job_(job), result_(*result) {}

  absl::Status Run() {
    std::vector<std::string> names;
    for (const Tensor& tensor : tuned_.tensors) names.emplace_back(tensor.name);
    // A head of its own on either side is a tensor to compare; tied on both, it changes as the embedding does.
    if (Tied(tuned_) && !Tied(base_)) names.emplace_back(formats::kHead);
    std::vector<std::string> whole;
    uint64_t done = 0;
    for (const std::string& name : names) {
      RETURN_IF_ERROR(job_.CheckStop());
      const Tensor &before = *Find(base_, name), &after = *Find(tuned_, name);
      job_.Progress("compare", done++, names.size(), "tensors");
      if (SameBytes(before, after, job_)) {
        if (IsLinear(after)) unchanged_.insert(std::string(LayerName(name)));
      } else if (GetsFactors(spec_, after)) {
        RETURN_IF_ERROR(AddFactors(name, before, after));
      } else if (spec_.others() == v1::OTHER_TENSORS_LEAVE_OUT) {
        result_.add_left_out(name);
      } else {
        whole.push_back(name);
      }
    }
    for (const std::string& name : whole) RETURN_IF_ERROR(AddWhole(name));
    job_.Progress("compare", names.size(), names.size(), "tensors");
    if (adapter_.empty()) {
      return job_.Refuse(StrCat("\"", tuned_.name, "\" and \"", base_.name, "\" do not differ",
                                result_.left_out().empty() ? "" : " in what the spec asks for",
                                "; there is nothing to extract"));
    }
    return Finish();
  }

 private:
  absl::Status AddFactors(const std::string& name, const Tensor& before, const Tensor& after);
  absl::Status AddWhole(const std::string& name);
  absl::Status Finish();

  const v1::Extract& spec_;
  const Model &base_, &tuned_;
  Job& job_;
  v1::AdapterResult& result_;
  NewAdapter adapter_{job_};
  std::set<std::string> unchanged_;  // Last names of linear layers some of which are as they were.
  std::vector<std::string> with_factors_;
  double squared_ = 0, squared_error_ = 0;
};

absl::Status Extractor::AddFactors(const std::string& name, const Tensor& before, const Tensor& after) {
  const Matrix x = AsMatrix(before), y = AsMatrix(after);
  Matrix difference{y.rows, y.columns, nullptr};
  difference.fill = [=](uint64_t first, uint64_t count, float* out) {
    std::vector<float> own(count * x.columns);
    x.fill(first, count, own.data());
    y.fill(first, count, out);
    for (size_t i = 0; i < own.size(); ++i) out[i] -= own[i];
  };
  RankRule rule;
  rule.most = spec_.rank() == 0 ? kDefaultRank : spec_.rank();
  rule.energy = spec_.energy();
  ASSIGN_OR_RETURN(Factors factors, CutToRank(job_, difference, rule, name));
  ASSIGN_OR_RETURN(const Distance distance, Measure(job_, difference, factors));
  job_.Release(before.bytes());
  job_.Release(after.bytes());
  squared_ += distance.squared;
  squared_error_ += distance.squared_error;
  const std::string module(ModuleOf(name));
  v1::Cut* cut = result_.add_cut();
  cut->set_module(module);
  cut->set_rank(static_cast<uint32_t>(factors.rank));
  cut->set_error(distance.relative());
  cut->set_largest_element(static_cast<double>(distance.largest));
  result_.set_largest_error(std::max(result_.largest_error(), distance.relative()));
  if (!IsEmbeddingName(name)) {
    with_factors_.push_back(module);
    return adapter_.AddModule(module, false, factors);
  }
  // The tensor is tokens x width; PEFT's factors of an embedding are those of its transpose.
  const auto transposed = [](const std::vector<float>& m, uint64_t rows, uint64_t columns) {
    std::vector<float> out(m.size());
    for (uint64_t i = 0; i < rows; ++i) {
      for (uint64_t k = 0; k < columns; ++k) out[k * rows + i] = m[i * columns + k];
    }
    return out;
  };
  with_factors_.push_back(module);
  if (name == formats::kEmbedding && Tied(base_) && Tied(tuned_)) {
    with_factors_.emplace_back(ModuleOf(formats::kHead));
    RETURN_IF_ERROR(adapter_.AddModule(std::string(ModuleOf(formats::kHead)), false, factors));
  }
  Factors turned{factors.columns, factors.rows, factors.rank, transposed(factors.a, factors.rank, factors.columns),
                 transposed(factors.b, factors.rows, factors.rank)};
  return adapter_.AddModule(module, true, turned);
}

absl::Status Extractor::AddWhole(const std::string& name) {
  const Tensor& after = *Find(tuned_, name);
  result_.set_tensors_referenced(result_.tensors_referenced() + 1);
  RETURN_IF_ERROR(adapter_.AddSaved(name, after));
  if (name != formats::kEmbedding || !Tied(base_) || !Tied(tuned_)) return absl::OkStatus();
  result_.set_tensors_referenced(result_.tensors_referenced() + 1);
  return adapter_.AddSaved(std::string(formats::kHead), after);
}

absl::Status Extractor::Finish() {
  formats::AdapterConfigText text;
  text.base_model = spec_.base_name().empty() ? std::string(base_.name) : spec_.base_name();
  const bool partial = std::any_of(with_factors_.begin(), with_factors_.end(), [&](const std::string& module) {
    return unchanged_.count(std::string(LayerName(module + ".weight"))) != 0;
  });
  if (partial) text.targets = with_factors_;
  std::sort(text.targets.begin(), text.targets.end());
  RETURN_IF_ERROR(adapter_.Finish(std::move(text)));
  RETURN_IF_ERROR(job_.SetAttribute("adapter.base_version", base_.version));
  result_.set_tensors_new(2 * with_factors_.size());
  result_.set_error(squared_ == 0 ? 0 : std::sqrt(squared_error_ / squared_));
  return absl::OkStatus();
}

}  // namespace

void CheckExtract(const v1::Extract& spec, const Model& base, const Model& tuned, std::vector<std::string>* problems) {
  const auto problem = [&](const std::string& text) { problems->push_back(text); };
  std::set<std::string> last;
  for (const Tensor& after : tuned.tensors) {
    if (IsLinear(after)) last.insert(std::string(LayerName(after.name)));
    const Tensor* before = Find(base, after.name);
    if (before == nullptr) {
      problem(
          StrCat("\"", tuned.name, "\" has a tensor \"", after.name, "\", which \"", base.name, "\" does not have"));
      continue;
    }
    if (!std::equal(before->shape.begin(), before->shape.end(), after.shape.begin(), after.shape.end())) {
      problem(StrCat("tensor \"", after.name, "\" has another shape in \"", tuned.name, "\" than in \"", base.name,
                     "\"; an adapter cannot change shapes"));
    }
    for (const Tensor* tensor : {before, &after}) {
      const auto dtype = DTypeFromName(tensor->dtype);
      if (!GetsFactors(spec, after) || (dtype && formats::Convertible(*dtype))) continue;
      problem(StrCat("tensor \"", after.name, "\" is ", tensor->dtype, "; F32, F16 and BF16 can be compared"));
    }
  }
  for (const Tensor& before : base.tensors) {
    if (Find(tuned, before.name) == nullptr) {
      problem(
          StrCat("\"", base.name, "\" has a tensor \"", before.name, "\", which \"", tuned.name, "\" does not have"));
    }
  }
  const std::vector<std::string> names(last.begin(), last.end());
  for (const std::string& target : spec.target()) {
    if (last.count(target) == 0) {
      problem(StrCat("extract.target: no linear layer is named \"", target, "\"", DidYouMean(target, names)));
    }
  }
}

uint64_t ExtractMemory(const v1::Extract& spec, const Model& base, unsigned threads) {
  const uint64_t width = (spec.rank() == 0 ? kDefaultRank : spec.rank()) + 40;
  uint64_t most = 0;
  for (const Tensor& tensor : base.tensors) {
    if (!GetsFactors(spec, tensor)) continue;
    const auto rows = static_cast<uint64_t>(tensor.shape[0]), columns = static_cast<uint64_t>(tensor.shape[1]);
    const uint64_t tile = TileRows(rows, columns) * columns;
    most = std::max(most, (rows + columns) * width * 40 + (threads + 2) * (3 * tile + columns * width) * 4);
  }
  return (64 << 20) + most;
}

absl::Status RunExtract(const v1::Extract& spec, const Model& base, const Model& tuned, Job& job,
                        v1::AdapterResult* result) {
  return Extractor(spec, base, tuned, job, result).Run();
}

}  // namespace editd::adapter
