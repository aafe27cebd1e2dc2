// What the tensors of an adapter are for, by their names.
//
//   base_model.model.MODULE.lora_A.weight, .lora_B.weight        a linear layer
//   base_model.model.MODULE.lora_embedding_A, .lora_embedding_B  an embedding
//   base_model.model.MODULE.lora_magnitude_vector                DoRA's lengths
//   base_model.model.MODULE.token_adapter.trainable_tokens_delta rows of an embedding; in spite of the name, not deltas
//   base_model.model.MODULE.base_layer.PARAMETER                 a parameter of the base, beside a low-rank change
//   base_model.model.MODULE.PARAMETER                            a parameter of the base (modules_to_save, bias)
//
// The adapter's own name ("default") stands in some files before the last part; it is skipped.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "plugins/lib/formats/adapter.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::formats {
namespace {

constexpr std::string_view kPrefix = "base_model.model.";
constexpr size_t kMaxAttribute = 1000;  // Bytes; a version's attributes are short.

bool TakeEnd(std::string_view* text, std::string_view end) {
  if (!text->ends_with(end)) return false;
  text->remove_suffix(end.size());
  return true;
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) StrAppend(&text, i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

// The factors of a module as they are found.
struct Found {
  int64_t a = -1, b = -1, embedding_a = -1, embedding_b = -1, magnitude = -1;
};

class Layer {
 public:
  Layer(const std::vector<AdapterTensor>& tensors, std::vector<std::string>* problems)
      : tensors_(tensors), problems_(*problems) {}

  AdapterLayout LayOut() {
    for (size_t i = 0; i < tensors_.size(); ++i) Sort(i);
    for (const auto& [module, found] : found_) AddModule(module, found);
    if (tensors_.empty()) problems_.push_back("the adapter has no tensors");
    const auto by_target = [](const SavedTensor& x, const SavedTensor& y) { return x.target < y.target; };
    std::sort(out_.saved.begin(), out_.saved.end(), by_target);
    return std::move(out_);
  }

 private:
  template <typename... Pieces>
  void Problem(const Pieces&... pieces) {
    problems_.push_back(StrCat(pieces...));
  }
  void Place(size_t tensor, std::string_view module, int64_t Found::*part) {
    int64_t& place = found_[std::string(module)].*part;
    if (place >= 0) Problem("tensors \"", tensors_[place].name, "\" and \"", tensors_[tensor].name, "\" are the same");
    place = static_cast<int64_t>(tensor);
  }
  void Sort(size_t tensor);
  void AddModule(const std::string& module, const Found& found);

  const std::vector<AdapterTensor>& tensors_;
  std::vector<std::string>& problems_;
  std::map<std::string, Found> found_;
  AdapterLayout out_;
};

void Layer::Sort(size_t tensor) {
  const std::string canonical = CanonicalAdapterTensorName(tensors_[tensor].name);
  std::string_view name = canonical;
  if (!name.starts_with(kPrefix) || name.size() == kPrefix.size()) {
    return Problem("tensor \"", name, "\" is none of PEFT's: its name does not begin with \"", kPrefix, "\"");
  }
  name.remove_prefix(kPrefix.size());
  if (TakeEnd(&name, ".lora_A.weight")) return Place(tensor, name, &Found::a);
  if (TakeEnd(&name, ".lora_B.weight")) return Place(tensor, name, &Found::b);
  if (TakeEnd(&name, ".lora_embedding_A")) return Place(tensor, name, &Found::embedding_a);
  if (TakeEnd(&name, ".lora_embedding_B")) return Place(tensor, name, &Found::embedding_b);
  if (TakeEnd(&name, ".lora_magnitude_vector")) return Place(tensor, name, &Found::magnitude);
  if (TakeEnd(&name, ".token_adapter.trainable_tokens_delta")) {
    out_.rows.push_back({std::string(name), tensor});
    return;
  }
  if (name.find("lora_") != std::string_view::npos || name.find("token_adapter") != std::string_view::npos) {
    return Problem("tensor \"", canonical, "\" has a part that is not known; the adapter is of a kind that is not",
                   " supported");
  }
  std::string target(name);
  const size_t at = target.find(".base_layer.");
  if (at != std::string::npos) target.erase(at, 11);
  out_.saved.push_back({std::move(target), tensor, at != std::string::npos});
}

void Layer::AddModule(const std::string& module, const Found& found) {
  LoraModule out;
  out.module = module;
  out.embedding = found.embedding_a >= 0 || found.embedding_b >= 0;
  const int64_t a = out.embedding ? found.embedding_a : found.a, b = out.embedding ? found.embedding_b : found.b;
  if (out.embedding && (found.a >= 0 || found.b >= 0)) {
    return Problem("module \"", module, "\" has factors of a linear layer and of an embedding");
  }
  if (a < 0 || b < 0) {
    return Problem("module \"", module, "\" has no ", a < 0 ? "A" : "B", "; the file is incomplete");
  }
  const std::vector<int64_t>&a_shape = tensors_[a].shape, &b_shape = tensors_[b].shape;
  if (a_shape.size() != 2 || b_shape.size() != 2 || a_shape[0] != b_shape[1] || a_shape[0] == 0) {
    return Problem("module \"", module, "\": A ", ShapeText(a_shape), " and B ", ShapeText(b_shape),
                   " do not multiply; the rank is A's first and B's second dimension");
  }
  out.a = static_cast<size_t>(a);
  out.b = static_cast<size_t>(b);
  out.rank = a_shape[0];
  out.inputs = a_shape[1];
  out.outputs = b_shape[0];
  out.magnitude = found.magnitude;
  if (found.magnitude >= 0) {
    const std::vector<int64_t>& shape = tensors_[found.magnitude].shape;
    if (shape != std::vector<int64_t>{out.outputs}) {
      Problem("module \"", module, "\": lora_magnitude_vector is ", ShapeText(shape), ", not [", out.outputs, "]");
    }
  }
  out_.modules.push_back(std::move(out));
}

// "v_proj" of "model.layers.3.self_attn.v_proj".
std::string_view LastPart(std::string_view module) {
  const size_t dot = module.rfind('.');
  return dot == std::string_view::npos ? module : module.substr(dot + 1);
}

std::string Shortened(const std::string& text) {
  if (text.size() <= kMaxAttribute) return text;
  const size_t end = text.rfind(", ", kMaxAttribute - 20);
  return end == std::string::npos ? ToValidUtf8(text, kMaxAttribute - 20) : text.substr(0, end) + ", and more";
}

template <typename Names>
std::string Joined(const Names& names) {
  std::string text;
  for (const auto& name : names) StrAppend(&text, text.empty() ? "" : ", ", name);
  return Shortened(text);
}

// "8", or "4 to 64".
std::string Span(const std::set<double>& values) {
  if (values.empty()) return "";
  return values.size() == 1 ? StrCat(*values.begin()) : StrCat(*values.begin(), " to ", *values.rbegin());
}

}  // namespace

std::string CanonicalAdapterTensorName(std::string_view name) {
  std::string out(name);
  const auto erase = [&](std::string_view before, std::string_view what) {
    const size_t at = out.find(StrCat(before, what));
    if (at == std::string::npos) return;
    const size_t end = at + before.size() + what.size();
    if (end == out.size() || out[end] == '.') out.erase(at + before.size(), what.size());
  };
  for (const char* part : {".lora_A", ".lora_B", ".lora_embedding_A", ".lora_embedding_B", ".lora_magnitude_vector",
                           ".trainable_tokens_delta"}) {
    erase(part, ".default");
  }
  erase("", ".modules_to_save.default");
  erase(".lora_magnitude_vector", ".weight");
  return out;
}

std::string AdapterTensorName(std::string_view module, std::string_view part) {
  return StrCat(kPrefix, module, ".", part);
}

AdapterLayout LayOutAdapter(const std::vector<AdapterTensor>& tensors, std::vector<std::string>* problems) {
  return Layer(tensors, problems).LayOut();
}

void CheckAdapterConfig(const AdapterConfig& config, const std::vector<AdapterTensor>& tensors,
                        const AdapterLayout& layout, std::vector<std::string>* problems) {
  for (const LoraModule& module : layout.modules) {
    const ModuleScale scale = ScaleOf(config, module.module);
    if (static_cast<double>(module.rank) != scale.rank) {
      problems->push_back(
          StrCat("module \"", module.module, "\" has rank ", module.rank, ", the configuration says ", scale.rank));
    }
    if (config.dora && module.magnitude < 0) {
      problems->push_back(StrCat("module \"", module.module, "\" has no lora_magnitude_vector, but use_dora is set"));
    }
    if (!config.dora && module.magnitude >= 0) {
      problems->push_back(
          StrCat("module \"", module.module, "\" has a lora_magnitude_vector, but use_dora is not set"));
    }
  }
  for (const SavedRows& rows : layout.rows) {
    const std::vector<int64_t>& shape = tensors[rows.tensor].shape;
    const std::vector<int64_t>* ids = TokenIdsOf(config, rows.module);
    if (ids == nullptr || shape.size() != 2 || shape[0] != static_cast<int64_t>(ids->size())) {
      problems->push_back(StrCat("module \"", rows.module, "\" has trained rows ", ShapeText(shape),
                                 "; trainable_token_indices names ", ids == nullptr ? 0 : ids->size()));
    }
  }
}

const std::vector<int64_t>* TokenIdsOf(const AdapterConfig& config, std::string_view module) {
  for (const auto& [suffix, ids] : config.token_indices) {
    const bool matches =
        suffix.empty() || module == suffix ||
        (module.size() > suffix.size() && module.ends_with(suffix) && module[module.size() - suffix.size() - 1] == '.');
    if (matches) return &ids;
  }
  return nullptr;
}

std::map<std::string, std::string> DescribeAdapter(const AdapterConfig& config, const AdapterLayout& layout) {
  std::map<std::string, std::string> out;
  std::set<double> ranks, alphas;
  std::map<std::string, std::set<std::string>> shapes;
  for (const LoraModule& module : layout.modules) {
    const ModuleScale scale = ScaleOf(config, module.module);
    ranks.insert(static_cast<double>(module.rank));
    alphas.insert(scale.alpha);
    shapes[std::string(LastPart(module.module))].insert(StrCat(module.embedding ? module.inputs : module.outputs, " x ",
                                                               module.embedding ? module.outputs : module.inputs));
  }
  std::vector<std::string> targets, needs;
  for (const auto& [target, sizes] : shapes) {
    targets.push_back(target);
    for (const std::string& size : sizes) needs.push_back(StrCat(target, " ", size));
  }
  std::set<std::string> saved;
  for (const SavedTensor& tensor : layout.saved) {
    const std::string_view module = std::string_view(tensor.target).substr(0, tensor.target.rfind('.'));
    saved.insert(tensor.target.ends_with(".bias") ? StrCat(LastPart(module), ".bias") : std::string(LastPart(module)));
  }
  out["kind"] = "adapter";
  out["adapter.type"] = config.dora ? "DoRA" : "LoRA";
  out["adapter.rank"] = Span(ranks);
  out["adapter.alpha"] = Span(alphas);
  out["adapter.scale"] = config.rslora ? "alpha / sqrt(rank)" : "alpha / rank";
  out["adapter.targets"] = Joined(targets);
  out["adapter.modules"] = StrCat(layout.modules.size());
  out["adapter.needs"] = Joined(needs);
  if (!config.base_model.empty()) out["adapter.base"] = Shortened(config.base_model);
  if (!saved.empty()) out["adapter.saved"] = Joined(saved);
  if (!layout.rows.empty()) {
    size_t count = 0;
    for (const auto& [module, ids] : config.token_indices) count += ids.size();
    out["adapter.tokens"] = StrCat(count);
  }
  if (config.bias != "none") out["adapter.bias"] = config.bias;
  if (config.fan_in_fan_out) out["adapter.fan_in_fan_out"] = "true";
  return out;
}

}  // namespace editd::formats
