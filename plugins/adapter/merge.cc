#include "plugins/adapter/merge.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plugins/adapter/nf4.h"
#include "plugins/adapter/tensor_writer.h"
#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/convert.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

constexpr size_t kMaxAttribute = 1000;

bool SameTranspose(const Tensor& x, const Tensor& y) {
  if (x.shape.size() != 2 || y.shape.size() != 2 || x.shape[0] != y.shape[1] || x.shape[1] != y.shape[0]) return false;
  const std::shared_ptr<const float> a = AsFloats(x), b = AsFloats(y);
  const int64_t rows = x.shape[0], columns = x.shape[1];
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < columns; ++k) {
      if (a.get()[i * columns + k] != b.get()[k * rows + i]) return false;
    }
  }
  return true;
}

// True if embedding and head change alike, so that a tied model stays tied: the same tensor in full, or factors that
// are each other's transposes (PEFT's ensure_weight_tying).
bool SameChange(const Change& embedding, const Change& head) {
  if (embedding.adapter != head.adapter || embedding.trained != head.trained) return false;
  if ((embedding.saved == nullptr) != (head.saved == nullptr)) return false;
  if ((embedding.module == nullptr) != (head.module == nullptr)) return false;
  if ((embedding.rows == nullptr) != (head.rows == nullptr)) return false;
  const Adapter& adapter = *embedding.adapter;
  if (embedding.saved != nullptr) {
    const Tensor &x = adapter.tensor(embedding.saved->tensor), &y = adapter.tensor(head.saved->tensor);
    if (x.dtype != y.dtype || x.bytes() != y.bytes()) return false;
  }
  if (embedding.module == nullptr) return true;
  const formats::LoraModule &x = *embedding.module, &y = *head.module;
  if (x.magnitude >= 0 || y.magnitude >= 0) return false;
  return formats::ScaleOf(adapter.config, x.module).scale == formats::ScaleOf(adapter.config, y.module).scale &&
         SameTranspose(adapter.tensor(x.a), adapter.tensor(y.b)) &&
         SameTranspose(adapter.tensor(x.b), adapter.tensor(y.a));
}

bool RowsAlone(const ChangedTensor& changed) {
  return std::all_of(changed.changes.begin(), changed.changes.end(), [](const Change& change) {
    return change.rows != nullptr && change.saved == nullptr && change.module == nullptr;
  });
}

class Merger {
 public:
  Merger(const v1::Merge& spec, const MergeInputs& inputs, MergePlan plan, Job& job, v1::AdapterResult* result)
      : spec_(spec), inputs_(inputs), plan_(std::move(plan)), job_(job), result_(*result) {}

  absl::Status Run() {
    DecideHead();
    for (const auto& [name, changed] : plan_.changed) writer_.Expect(*changed.source);
    for (const Tensor& tensor : inputs_.base->tensors) {
      if (Quantised(spec_, tensor) && plan_.changed.count(std::string(tensor.name)) == 0) writer_.Expect(tensor);
    }
    for (const Tensor& tensor : inputs_.base->tensors) RETURN_IF_ERROR(Make(tensor));
    if (new_head_) RETURN_IF_ERROR(MakeHead());
    RETURN_IF_ERROR(MakeFiles());
    RETURN_IF_ERROR(MakeAttributes());
    result_.set_tensors_new(writer_.tensors());
    return absl::OkStatus();
  }

 private:
  void DecideHead();
  absl::Status Make(const Tensor& tensor);
  absl::Status MakeHead();
  absl::Status Write(const std::string& name, const ChangedTensor& changed);
  absl::StatusOr<Matrix> Base(const Tensor& tensor);
  absl::StatusOr<Matrix> Merged(const std::string& name, const ChangedTensor& changed, const Matrix& base);
  absl::Status MakeFiles();
  absl::Status MakeAttributes();
  absl::Status Reuse(const Tensor& tensor, std::string_view name) {
    result_.set_tensors_referenced(result_.tensors_referenced() + 1);
    return job_.Reuse(tensor, name);
  }

  const v1::Merge& spec_;
  const MergeInputs& inputs_;
  MergePlan plan_;
  Job& job_;
  v1::AdapterResult& result_;
  TensorWriter writer_{job_};
  bool untied_ = false;    // The base's head is its embedding, the result's is not.
  bool new_head_ = false;  // The result has a head that the base has not.
};

// In a model whose head is its embedding an adapter that changes one of them leaves the other as it was: base and
// adapter together compute so. Then the result has both.
void Merger::DecideHead() {
  const Tensor* embedding = inputs_.base->FindTensor(formats::kEmbedding);
  const Tensor* head = inputs_.base->FindTensor(formats::kHead);
  if (!plan_.tied || (head != nullptr && head->bytes() != embedding->bytes())) return;
  const auto e = plan_.changed.find(std::string(formats::kEmbedding));
  const auto h = plan_.changed.find(std::string(formats::kHead));
  const bool has_e = e != plan_.changed.end(), has_h = h != plan_.changed.end();
  if (!has_e && !has_h) return;
  if (has_e && !has_h && RowsAlone(e->second)) return;  // The head reads the same rows.
  if (has_e && has_h) {
    const std::vector<Change>&x = e->second.changes, &y = h->second.changes;
    if (x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), SameChange)) {
      if (head == nullptr) plan_.changed.erase(h);
      return;
    }
  }
  untied_ = true;
  new_head_ = head == nullptr;
  result_.add_remark("the head was the embedding; the adapter changes one without the other, so the result has both");
}

absl::StatusOr<Matrix> Merger::Base(const Tensor& tensor) {
  const Matrix base = AsMatrix(tensor);
  if (!Quantised(spec_, tensor)) return base;
  return ThroughNf4(job_, base, *DTypeFromName(tensor.dtype));
}

absl::StatusOr<Matrix> Merger::Merged(const std::string& name, const ChangedTensor& changed, const Matrix& base) {
  if (changed.changes.size() == 1 && changed.changes[0].adapter->weight == 1 && !changed.changes[0].plain() &&
      spec_.combination().method() <= v1::COMBINATION_METHOD_SUM) {
    return Changed(job_, changed.changes[0], base);
  }
  std::vector<Weighted> weighted;
  for (const Change& change : changed.changes) {
    ASSIGN_OR_RETURN(Matrix difference, Difference(job_, change, base));
    weighted.push_back({std::move(difference), change.adapter->weight,
                        static_cast<uint32_t>(change.adapter - inputs_.adapters.data())});
  }
  ASSIGN_OR_RETURN(const Matrix combined, Combined(job_, spec_.combination(), std::move(weighted), name));
  Matrix out{base.rows, base.columns, nullptr};
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    std::vector<float> own(count * base.columns);
    base.fill(first, count, own.data());
    combined.fill(first, count, to);
    for (size_t i = 0; i < own.size(); ++i) to[i] += own[i];
  };
  return out;
}

absl::Status Merger::Write(const std::string& name, const ChangedTensor& changed) {
  const Tensor& source = *changed.source;
  const Change& first = changed.changes[0];
  if (changed.changes.size() == 1 && first.saved != nullptr && first.trained == nullptr && first.module == nullptr &&
      first.rows == nullptr && first.adapter->weight == 1) {
    const Tensor& saved = first.adapter->tensor(first.saved->tensor);
    if (saved.dtype == source.dtype) return Reuse(saved, name);
  }
  ASSIGN_OR_RETURN(const Matrix base, Base(source));
  ASSIGN_OR_RETURN(Matrix merged, Merged(name, changed, base));
  const DType dtype = *DTypeFromName(source.dtype);
  if (spec_.onto() == v1::MERGE_ONTO_REQUANTIZED_NF4 && Quantised(spec_, source)) {
    ASSIGN_OR_RETURN(merged, ThroughNf4(job_, merged, dtype));
  }
  return writer_.Write(name, dtype, source.shape, merged, &source);
}

absl::Status Merger::Make(const Tensor& tensor) {
  const auto changed = plan_.changed.find(std::string(tensor.name));
  if (changed != plan_.changed.end()) return Write(changed->first, changed->second);
  if (!Quantised(spec_, tensor)) return Reuse(tensor, tensor.name);
  ASSIGN_OR_RETURN(const Matrix base, Base(tensor));
  return writer_.Write(std::string(tensor.name), *DTypeFromName(tensor.dtype), tensor.shape, base, &tensor);
}

absl::Status Merger::MakeHead() {
  const auto changed = plan_.changed.find(std::string(formats::kHead));
  if (changed != plan_.changed.end()) return Write(changed->first, changed->second);
  return Reuse(*inputs_.base->FindTensor(formats::kEmbedding), formats::kHead);
}

absl::Status Merger::MakeFiles() {
  for (const File& file : inputs_.base->files) {
    if (file.name != "config.json" || !untied_) {
      RETURN_IF_ERROR(job_.ReuseFile(file));
      continue;
    }
    ASSIGN_OR_RETURN(formats::Json config, formats::ParseJson(file.content, "config.json"));
    config["tie_word_embeddings"] = false;
    RETURN_IF_ERROR(job_.AddFile(file.name, formats::DumpJson(config)));
  }
  return absl::OkStatus();
}

absl::Status Merger::MakeAttributes() {
  for (const auto& [key, value] : inputs_.base->attributes) {
    if (!(untied_ && key == "vocab.tied")) RETURN_IF_ERROR(job_.SetAttribute(key, value));
  }
  if (untied_) RETURN_IF_ERROR(job_.SetAttribute("vocab.tied", "false"));
  std::string text(inputs_.base->Attribute("merged.adapters"));
  for (const v1::UsedAdapter& adapter : result_.adapter()) {
    StrAppend(&text, text.empty() ? "" : ", ", adapter.name(), " x ", adapter.weight());
    if (!adapter.trained_on().empty()) StrAppend(&text, " (trained on ", adapter.trained_on(), ")");
  }
  if (text.size() > kMaxAttribute) text = text.substr(0, kMaxAttribute - 5) + " ...";
  RETURN_IF_ERROR(job_.SetAttribute("merged.adapters", text));
  const std::string_view onto = spec_.onto() == v1::MERGE_ONTO_DEQUANTIZED_NF4 ? "the base through NF4"
                                : spec_.onto() == v1::MERGE_ONTO_REQUANTIZED_NF4
                                    ? "the base through NF4, rounded to NF4"
                                    : "the base";
  return job_.SetAttribute("merged.onto", onto);
}

}  // namespace

absl::Status RunMerge(const v1::Merge& spec, const MergeInputs& inputs, MergePlan plan, Job& job,
                      v1::AdapterResult* result) {
  return Merger(spec, inputs, std::move(plan), job, result).Run();
}

}  // namespace editd::adapter
