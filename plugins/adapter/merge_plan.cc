#include <algorithm>

#include "plugins/adapter/merge.h"
#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/convert.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

template <typename Shape>
std::string ShapeText(const Shape& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) StrAppend(&text, i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

class Planner {
 public:
  Planner(const v1::Merge& spec, const MergeInputs& inputs, std::vector<std::string>* problems)
      : spec_(spec), inputs_(inputs), problems_(*problems) {}

  MergePlan Plan() {
    const Tensor* head = inputs_.base->FindTensor(formats::kHead);
    plan_.tied = inputs_.base->FindTensor(formats::kEmbedding) != nullptr &&
                 (head == nullptr || inputs_.base->Attribute("vocab.tied") == "true");
    for (const Adapter& adapter : inputs_.adapters) Add(adapter);
    return std::move(plan_);
  }

 private:
  template <typename... Pieces>
  void Problem(const Adapter& adapter, const Pieces&... pieces) {
    problems_.push_back(StrCat("\"", adapter.model->name, "\": ", pieces...));
  }
  void Add(const Adapter& adapter);
  Change* Find(const Adapter& adapter, const std::string& name, const std::vector<int64_t>& shape);
  const Tensor* Source(std::string_view name);
  void AddSaved(const Adapter& adapter, const formats::SavedTensor& saved);

  const v1::Merge& spec_;
  const MergeInputs& inputs_;
  std::vector<std::string>& problems_;
  MergePlan plan_;
};

// The base's tensor of this name. A module's path may have the base model's own name before it ("transformer.h.0"),
// which some checkpoints leave out; a tied head is the embedding.
const Tensor* Planner::Source(std::string_view name) {
  if (const Tensor* tensor = inputs_.base->FindTensor(name)) return tensor;
  if (name == formats::kHead && plan_.tied) return inputs_.base->FindTensor(formats::kEmbedding);
  const size_t dot = name.find('.');
  return dot == std::string_view::npos ? nullptr : inputs_.base->FindTensor(name.substr(dot + 1));
}

// The adapter's change of a tensor, made if it is the first part of it; null if the tensor does not fit.
Change* Planner::Find(const Adapter& adapter, const std::string& name, const std::vector<int64_t>& shape) {
  const Tensor* source = Source(name);
  if (source == nullptr) {
    std::vector<std::string> names;
    for (const Tensor& tensor : inputs_.base->tensors) names.emplace_back(tensor.name);
    Problem(adapter, "changes \"", name, "\", which \"", inputs_.base->name, "\" does not have",
            DidYouMean(name, names));
    return nullptr;
  }
  if (!std::equal(source->shape.begin(), source->shape.end(), shape.begin(), shape.end())) {
    Problem(adapter, "its part for \"", name, "\" is ", ShapeText(shape), "; in \"", inputs_.base->name,
            "\" the tensor is ", ShapeText(source->shape));
    return nullptr;
  }
  const auto dtype = DTypeFromName(source->dtype);
  if (!dtype || !formats::Convertible(*dtype)) {
    Problem(adapter, "changes \"", name, "\", which is ", source->dtype, " in \"", inputs_.base->name,
            "\"; F32, F16 and BF16 can be changed");
    return nullptr;
  }
  if (IsEmbeddingName(source->name) && source->name != formats::kEmbedding) {
    Problem(adapter, "changes \"", name, "\"; whether the head of \"", inputs_.base->name,
            "\" is the same tensor is known only for \"", formats::kEmbedding, "\"");
    return nullptr;
  }
  const std::string in_result(name == formats::kHead ? name : std::string(source->name));
  ChangedTensor& changed = plan_.changed[in_result];
  changed.source = source;
  for (Change& change : changed.changes) {
    if (change.adapter == &adapter) return &change;
  }
  changed.changes.push_back({});
  changed.changes.back().adapter = &adapter;
  return &changed.changes.back();
}

void Planner::AddSaved(const Adapter& adapter, const formats::SavedTensor& saved) {
  Change* change = Find(adapter, saved.target, adapter.tensors[saved.tensor].shape);
  if (change == nullptr) return;
  change->saved = &saved;
  const bool by_change = spec_.saved_tensors() == v1::SAVED_TENSORS_CHANGE ||
                         (spec_.saved_tensors() == v1::SAVED_TENSORS_UNSPECIFIED && inputs_.trained_on != nullptr);
  if (!by_change || inputs_.trained_on == nullptr) return;
  const Tensor* trained = inputs_.trained_on->FindTensor(saved.target);
  if (trained == nullptr && saved.target == formats::kHead) {
    trained = inputs_.trained_on->FindTensor(formats::kEmbedding);
  }
  const auto dtype = trained == nullptr ? std::nullopt : DTypeFromName(trained->dtype);
  if (trained == nullptr || !dtype || !formats::Convertible(*dtype) ||
      !std::equal(trained->shape.begin(), trained->shape.end(), adapter.tensors[saved.tensor].shape.begin(),
                  adapter.tensors[saved.tensor].shape.end())) {
    Problem(adapter, "brings \"", saved.target, "\" in full, and \"", inputs_.trained_on->name,
            "\" (trained_on) has no such tensor of the same shape");
    return;
  }
  change->trained = trained;
}

void Planner::Add(const Adapter& adapter) {
  for (const formats::LoraModule& module : adapter.layout.modules) {
    const bool transposed = module.embedding || adapter.config.fan_in_fan_out;
    Change* change = Find(adapter, module.module + ".weight", ShapeInBase(module, transposed));
    if (change == nullptr) continue;
    change->module = &module;
    change->transposed = transposed;
  }
  for (const formats::SavedTensor& saved : adapter.layout.saved) AddSaved(adapter, saved);
  for (const formats::SavedRows& rows : adapter.layout.rows) {
    const std::string name = rows.module + ".weight";
    const Tensor* source = Source(name);
    const std::vector<int64_t>& shape = adapter.tensors[rows.tensor].shape;
    if (source == nullptr || source->shape.size() != 2 || shape.size() != 2 || source->shape[1] != shape[1]) {
      Problem(adapter, "has trained rows for \"", name, "\", ", ShapeText(shape), ", which do not fit \"",
              inputs_.base->name, "\"");
      continue;
    }
    const std::vector<int64_t>* ids = formats::TokenIdsOf(adapter.config, rows.module);
    const bool beyond =
        ids != nullptr && std::any_of(ids->begin(), ids->end(), [&](int64_t id) { return id >= source->shape[0]; });
    if (beyond) {
      Problem(adapter, "has trained rows for \"", name, "\" beyond its ", source->shape[0], " rows");
      continue;
    }
    if (Change* change = Find(adapter, name, {source->shape.begin(), source->shape.end()})) change->rows = &rows;
    // A tied head reads the same rows.
    if (plan_.tied && source->name == formats::kEmbedding && inputs_.base->FindTensor(formats::kHead) != nullptr) {
      if (Change* change = Find(adapter, std::string(formats::kHead), {source->shape.begin(), source->shape.end()})) {
        change->rows = &rows;
      }
    }
  }
}

}  // namespace

MergePlan PlanMerge(const v1::Merge& spec, const MergeInputs& inputs, std::vector<std::string>* problems) {
  return Planner(spec, inputs, problems).Plan();
}

bool Quantised(const v1::Merge& spec, const Tensor& tensor) {
  if (spec.onto() != v1::MERGE_ONTO_DEQUANTIZED_NF4 && spec.onto() != v1::MERGE_ONTO_REQUANTIZED_NF4) return false;
  if (tensor.shape.size() != 2 || !tensor.name.ends_with(".weight")) return false;
  const auto dtype = DTypeFromName(tensor.dtype);
  if (!dtype || !formats::Convertible(*dtype)) return false;
  if (IsEmbeddingName(tensor.name)) return false;
  const std::string_view last = LayerName(tensor.name);
  if (spec.not_quantised().empty()) return last != "lm_head";
  return std::none_of(spec.not_quantised().begin(), spec.not_quantised().end(),
                      [&](const std::string& name) { return name == last; });
}

uint64_t MergeMemory(const MergeInputs& inputs, const MergePlan& plan, unsigned threads) {
  uint64_t largest = 1 << 20, factors = 0;  // Elements of a tile; bytes of factors that are no F32.
  size_t most = 1;
  for (const auto& [name, changed] : plan.changed) {
    const Matrix shape = AsMatrix(*changed.source);
    largest = std::max(largest, TileRows(shape.rows, shape.columns) * shape.columns);
    most = std::max(most, changed.changes.size());
  }
  for (const Adapter& adapter : inputs.adapters) {
    for (const formats::LoraModule& module : adapter.layout.modules) {
      factors = std::max<uint64_t>(factors, 4 * static_cast<uint64_t>(module.rank * (module.inputs + module.outputs)));
    }
  }
  return (64 << 20) + most * factors + (threads + 2) * largest * 4 * (3 + 2);
}

}  // namespace editd::adapter
