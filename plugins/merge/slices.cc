#include "plugins/merge/slices.h"

#include <algorithm>
#include <set>

#include "absl/strings/numbers.h"
#include "plugins/lib/formats/checkpoint.h"
#include "plugins/merge/methods.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

v1::SliceSource* AddSource(v1::Slice* slice, const std::string& input, int64_t begin, int64_t end) {
  v1::SliceSource* const source = slice->add_sources();
  source->set_input(input);
  source->set_begin(static_cast<uint32_t>(begin));
  source->set_end(static_cast<uint32_t>(end));
  return source;
}

void AddValue(google::protobuf::RepeatedPtrField<v1::Value>* values, double number, const std::string& filter = "") {
  v1::Value* const value = values->Add();
  value->set_filter(filter);
  value->add_value(number);
}

// L layers in P runs: each is followed by a copy of its last layer, of which what writes to the residual is zero.
void ExpandBlocks(const v1::BlockExpansion& expansion, const Job& job, Findings* findings, v1::MergeSpec* spec) {
  const std::optional<size_t> model = ResolveInput(job, expansion.input(), "block_expansion.input", findings);
  if (!model.has_value()) return;
  const int64_t layers = LayersOf(job.model(*model));
  const int64_t blocks = expansion.blocks();
  if (blocks == 0 || blocks > layers || layers % blocks != 0) {
    findings->Add("block_expansion.blocks", StrCat(blocks, " new blocks can't be spread evenly over ", layers,
                                                   " layers; give a number that divides ", layers));
    return;
  }
  std::vector<std::string> zero(expansion.zero().begin(), expansion.zero().end());
  if (zero.empty()) zero = {"o_proj", "down_proj"};
  spec->set_method(v1::METHOD_PASSTHROUGH);
  for (int64_t end = layers / blocks; end <= layers; end += layers / blocks) {
    AddSource(spec->add_slices(), expansion.input(), end - layers / blocks, end);
    v1::SliceSource* const copy = AddSource(spec->add_slices(), expansion.input(), end - 1, end);
    for (const std::string& part : zero) AddValue(copy->mutable_parameters()->mutable_scale(), 0, part);
    AddValue(copy->mutable_parameters()->mutable_scale(), 1);
  }
}

void ExpandSwap(const v1::LayerSwap& swap, const Job& job, Findings* findings, Expansion* expansion) {
  const auto middle = ResolveInput(job, swap.middle(), "layer_swap.middle", findings);
  const auto outer = ResolveInput(job, swap.outer(), "layer_swap.outer", findings);
  for (const auto& [input, path] :
       {std::pair{&swap.embeddings(), "layer_swap.embeddings"}, std::pair{&swap.head(), "layer_swap.head"}}) {
    if (!input->empty()) ResolveInput(job, *input, path, findings);
  }
  if (!middle.has_value() || !outer.has_value()) return;
  const int64_t layers = LayersOf(job.model(*outer));
  if (LayersOf(job.model(*middle)) != layers) {
    findings->Add("layer_swap", StrCat("\"", swap.outer(), "\" has ", layers, " layers and \"", swap.middle(), "\" ",
                                       LayersOf(job.model(*middle)), "; both must have as many"));
    return;
  }
  const int64_t from_outer = int64_t{swap.bottom()} + swap.bottom_transition() + swap.top_transition() + swap.top();
  if (from_outer == 0 || from_outer > layers) {
    findings->Add("layer_swap", StrCat("bottom, top and transitions are ", from_outer, " of ", layers,
                                       " layers; give at least one and at most all"));
    return;
  }
  v1::MergeSpec* const spec = &expansion->spec;
  spec->set_method(v1::METHOD_LINEAR);
  if (spec->base().empty()) spec->set_base(swap.outer());
  expansion->embeddings = swap.embeddings().empty() ? swap.outer() : swap.embeddings();
  expansion->head = swap.head().empty() ? swap.outer() : swap.head();
  int64_t at = 0;
  const auto add = [&](int64_t count, bool has_outer, bool has_middle) {
    if (count == 0) return;
    v1::Slice* const slice = spec->add_slices();
    for (const auto& [has, input] : {std::pair{has_outer, &swap.outer()}, std::pair{has_middle, &swap.middle()}}) {
      if (has) AddValue(AddSource(slice, *input, at, at + count)->mutable_parameters()->mutable_weight(), 1);
    }
    at += count;
  };
  add(swap.bottom(), true, false);
  add(swap.bottom_transition(), true, true);
  add(layers - from_outer, false, true);
  add(swap.top_transition(), true, true);
  add(swap.top(), true, false);
}

// What stands after the layers; all else outside of them stands before.
bool IsAfterLayers(std::string_view tensor) {
  return tensor.find("lm_head") != std::string_view::npos || tensor.ends_with("norm.weight") ||
         tensor.ends_with("norm.bias");
}

// The name with its layer's number replaced.
std::string Renumbered(std::string_view name, int64_t layer) {
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    int64_t number = 0;
    if (end - begin < 10 && absl::SimpleAtoi(ToAbsl(name.substr(begin, end - begin)), &number) && number >= 0) {
      return StrCat(name.substr(0, begin), layer, name.substr(end));
    }
    begin = end + 1;
  }
  return std::string(name);
}

// A model's tensors by layer; -1: those outside of the layers.
using ByLayer = std::map<int64_t, std::vector<std::string>>;

class Layouter {
 public:
  Layouter(const Expansion& expansion, const Job& job, Findings* findings)
      : spec_(expansion.spec), expansion_(expansion), job_(job), findings_(*findings) {}

  Layout Make() {
    if (!Read()) return std::move(layout_);
    layout_.donor = base_.value_or(slices_[0].sources[0].model);
    Outside(expansion_.embeddings, slices_.front(), /*after=*/false);
    for (const Slice& slice : slices_) {
      for (int64_t i = 0; i < slice.length; ++i) Layer(slice, i);
    }
    Outside(expansion_.head, slices_.back(), /*after=*/true);
    return std::move(layout_);
  }

 private:
  struct Source {
    size_t model = 0;
    int64_t begin = 0;
    const Scope* scope = nullptr;
    uint32_t place = 0;
    std::string path;
  };
  struct Slice {
    std::vector<Source> sources;
    const Scope* scope = nullptr;
    std::optional<size_t> base;         // The slice's, or the spec's.
    std::optional<int64_t> base_begin;  // Where the base's layers begin.
    int64_t length = 0;
  };

  const Scope* AddScope(const v1::Parameters& parameters, const std::string& path) {
    layout_.scopes.push_back(std::make_unique<Scope>(Scope{&parameters, StrCat(path, ".parameters")}));
    return layout_.scopes.back().get();
  }

  // All slices; false if one can't be.
  bool Read() {
    if (!spec_.base().empty()) base_ = ResolveInput(job_, spec_.base(), "base", &findings_);
    bool good = spec_.base().empty() || base_.has_value();
    for (int i = 0; i < spec_.slices_size(); ++i) good = ReadSlice(i) && good;
    return good && !slices_.empty();
  }

  bool ReadSlice(int i) {
    const v1::Slice& from = spec_.slices(i);
    const std::string path = StrCat("slices[", i, "]");
    Slice slice;
    slice.scope = AddScope(from.parameters(), path);
    if (from.sources().empty()) findings_.Add(StrCat(path, ".sources"), "is empty; name the layers of a model");
    bool good = !from.sources().empty();
    for (int k = 0; k < from.sources_size(); ++k) {
      const v1::SliceSource& source = from.sources(k);
      const std::string at = StrCat(path, ".sources[", k, "]");
      const std::optional<size_t> model = ResolveInput(job_, source.input(), StrCat(at, ".input"), &findings_);
      const Scope* const scope = AddScope(source.parameters(), at);
      if (!model.has_value()) {
        good = false;
        continue;
      }
      const int64_t layers = LayersOf(job_.model(*model));
      const int64_t length = int64_t{source.end()} - source.begin();
      if (length <= 0 || source.end() > layers) {
        findings_.Add(at, StrCat("layers ", source.begin(), " to before ", source.end(), " are not in \"",
                                 source.input(), "\", which has ", layers));
        good = false;
      } else if (k > 0 && good && length != slice.length) {
        findings_.Add(at, StrCat("has ", length, " layers, and ", path, ".sources[0] ", slice.length));
        good = false;
      }
      if (k == 0) slice.length = length;
      slice.sources.push_back({*model, source.begin(), scope, static_cast<uint32_t>(k), at});
    }
    slice.base = from.base().empty() ? base_ : ResolveInput(job_, from.base(), StrCat(path, ".base"), &findings_);
    if (!good || (!from.base().empty() && !slice.base.has_value())) return false;
    FindBase(path, &slice);
    slices_.push_back(std::move(slice));
    return true;
  }

  // The base's layers: where it is listed, else the same as all sources'.
  void FindBase(const std::string& path, Slice* slice) {
    if (!slice->base.has_value()) return;
    for (const Source& source : slice->sources) {
      if (source.model == *slice->base) slice->base_begin = source.begin;
    }
    if (slice->base_begin.has_value()) return;
    const Model& base = job_.model(*slice->base);
    const int64_t begin = slice->sources[0].begin;
    const bool alike = std::all_of(slice->sources.begin(), slice->sources.end(),
                                   [&](const Source& source) { return source.begin == begin; });
    if (alike && begin + slice->length <= LayersOf(base)) slice->base_begin = begin;
    const MethodTraits* const method = TraitsOf(spec_.method());
    if (!slice->base_begin.has_value() && method != nullptr && method->base != Base::kNone) {
      findings_.Add(StrCat(path, ".sources"), StrCat("the base's layers can't be told; list \"", NameOf(base), "\""));
    }
  }

  const ByLayer& TensorsOf(size_t model) {
    ByLayer& tensors = tensors_[model];
    if (tensors.empty()) {
      for (const Tensor& tensor : job_.model(model).tensors) tensors[LayerOf(tensor.name)].emplace_back(tensor.name);
    }
    return tensors;
  }
  const std::vector<std::string>& TensorsOf(size_t model, int64_t layer) {
    static const std::vector<std::string> kNone;
    const ByLayer& tensors = TensorsOf(model);
    const auto found = tensors.find(layer);
    return found == tensors.end() ? kNone : found->second;
  }

  // One layer of the result.
  void Layer(const Slice& slice, int64_t i) {
    const Source& first = slice.sources[0];
    for (const std::string& name : TensorsOf(first.model, first.begin + i)) {
      Row row;
      row.name = Renumbered(name, next_);
      row.layer = i;
      row.layers = slice.length;
      row.slice = slice.scope;
      for (const Source& source : slice.sources) Add(source, Renumbered(name, source.begin + i), name, &row);
      if (slice.base_begin.has_value()) AddBase(*slice.base, Renumbered(name, *slice.base_begin + i), &row);
      layout_.rows.push_back(std::move(row));
    }
    for (const Source& source : slice.sources) {
      CheckOthers(first, source, TensorsOf(source.model, source.begin + i),
                  [&](std::string_view name) { return Renumbered(name, first.begin + i); });
    }
    const bool of_donor = slice.base_begin.has_value() && slice.base == base_;
    layout_.layers.push_back((of_donor ? *slice.base_begin : first.begin) + i);
    ++next_;
  }

  // What stands before or after all layers, of the sources of `slice`, or of `input` alone.
  void Outside(const std::string& input, const Slice& slice, bool after) {
    std::vector<Source> sources = slice.sources;
    if (!input.empty()) {
      const std::optional<size_t> model = FindInput(job_, input);
      if (!model.has_value()) return;  // Found already.
      static const v1::Parameters kWhole = [] {
        v1::Parameters whole;
        AddValue(whole.mutable_weight(), 1);
        return whole;
      }();
      sources = {{*model, 0, AddScope(kWhole, "layer_swap"), 0, "layer_swap"}};
    }
    std::vector<std::string> names;
    for (const std::string& name : TensorsOf(sources[0].model, -1)) {
      if (IsAfterLayers(name) == after) names.push_back(name);
    }
    const bool has_head = std::find(names.begin(), names.end(), formats::kHead) != names.end();
    if (after && !has_head && std::any_of(sources.begin(), sources.end(), [&](const Source& source) {
          return job_.model(source.model).FindTensor(formats::kHead) != nullptr;
        })) {
      names.emplace_back(formats::kHead);
    }
    for (const std::string& name : names) {
      Row row;
      row.name = name;
      row.slice = slice.scope;
      for (const Source& source : sources) Add(source, name, name, &row);
      if (slice.base.has_value()) AddBase(*slice.base, name, &row);
      layout_.unties_head |= name == formats::kHead && job_.model(layout_.donor).FindTensor(name) == nullptr;
      layout_.rows.push_back(std::move(row));
    }
    for (const Source& source : sources) {
      std::vector<std::string> others;
      for (const std::string& name : TensorsOf(source.model, -1)) {
        if (IsAfterLayers(name) == after && name != formats::kHead) others.push_back(name);
      }
      CheckOthers(sources[0], source, others, [](std::string_view name) { return std::string(name); });
    }
  }

  void Add(const Source& source, const std::string& name, const std::string& first_name, Row* row) {
    const Tensor* const tensor = FindShared(job_.model(source.model), name);
    if (tensor != nullptr) {
      row->takes.push_back({source.model, tensor, source.scope, source.place});
    } else if (spec_.missing() != v1::MISSING_SKIP) {
      findings_.AddFor(source.path, "lacks",
                       StrCat("\"", NameOf(job_.model(source.model)), "\" has no tensor \"", name, "\" beside \"",
                              first_name, "\"; set missing: MISSING_SKIP to merge such tensors without it"));
    }
  }

  void AddBase(size_t base, const std::string& name, Row* row) {
    const Tensor* const tensor = FindShared(job_.model(base), name);
    if (tensor != nullptr) row->base = Take{base, tensor, nullptr, 0};
  }

  // What a source has and the first one has not.
  template <typename Rename>
  void CheckOthers(const Source& first, const Source& source, const std::vector<std::string>& names,
                   const Rename& rename) {
    if (source.model == first.model || spec_.missing() == v1::MISSING_SKIP) return;
    for (const std::string& name : names) {
      if (job_.model(first.model).FindTensor(rename(name)) != nullptr) continue;
      findings_.AddFor(source.path, "has more",
                       StrCat("\"", NameOf(job_.model(source.model)), "\" has tensor \"", name, "\", and \"",
                              NameOf(job_.model(first.model)),
                              "\" nothing beside it; set missing: MISSING_SKIP to leave such tensors out"));
    }
  }

  const v1::MergeSpec& spec_;
  const Expansion& expansion_;
  const Job& job_;
  Findings& findings_;
  Layout layout_;
  std::optional<size_t> base_;
  std::vector<Slice> slices_;
  std::map<size_t, ByLayer> tensors_;
  int64_t next_ = 0;  // Of the result's layers.
};

}  // namespace

int64_t LayersOf(const Model& model) {
  int64_t layers = 0;
  for (const Tensor& tensor : model.tensors) layers = std::max(layers, LayerOf(tensor.name) + 1);
  return layers;
}

size_t BaseOf(const v1::MergeSpec& spec, const Job& job) {
  const std::string& name = !spec.base().empty()               ? spec.base()
                            : spec.has_block_expansion()       ? spec.block_expansion().input()
                            : spec.has_layer_swap()            ? spec.layer_swap().outer()
                            : !spec.models().empty()           ? spec.models(0).input()
                            : spec.slices().empty()            ? spec.base()
                            : spec.slices(0).sources().empty() ? spec.base()
                                                               : spec.slices(0).sources(0).input();
  return FindInput(job, name).value_or(0);
}

Expansion Expand(const v1::MergeSpec& spec, const Job& job, Findings* findings) {
  Expansion expansion{spec, "", ""};
  const int structures = (spec.models().empty() ? 0 : 1) + (spec.slices().empty() ? 0 : 1) +
                         (spec.has_block_expansion() ? 1 : 0) + (spec.has_layer_swap() ? 1 : 0);
  if (structures != 1) {
    findings->Add("", structures == 0 ? "nothing is merged; give models, slices, block_expansion or layer_swap"
                                      : "models, slices, block_expansion and layer_swap exclude each other");
    return expansion;
  }
  const v1::Method own = spec.has_block_expansion() ? v1::METHOD_PASSTHROUGH : v1::METHOD_LINEAR;
  if ((spec.has_block_expansion() || spec.has_layer_swap()) && spec.method() != v1::METHOD_UNSPECIFIED &&
      spec.method() != own) {
    findings->Add("method", StrCat("leave it out; ", spec.has_block_expansion() ? "block_expansion" : "layer_swap",
                                   " says how layers become one"));
    return expansion;
  }
  if (spec.has_block_expansion()) ExpandBlocks(spec.block_expansion(), job, findings, &expansion.spec);
  if (spec.has_layer_swap()) ExpandSwap(spec.layer_swap(), job, findings, &expansion);
  return expansion;
}

std::vector<std::string> Describe(const v1::MergeSpec& spec) {
  std::vector<std::string> lines;
  int64_t at = 0;
  const auto range = [](int64_t begin, int64_t end) {
    return end - begin == 1 ? StrCat(begin) : StrCat(begin, "-", end - 1);
  };
  for (const v1::Slice& slice : spec.slices()) {
    if (slice.sources().empty()) continue;
    const int64_t length = int64_t{slice.sources(0).end()} - slice.sources(0).begin();
    std::string line = StrCat(length == 1 ? "layer " : "layers ", range(at, at + length), ": ");
    for (int i = 0; i < slice.sources_size(); ++i) {
      const v1::SliceSource& source = slice.sources(i);
      StrAppend(&line, i == 0 ? "" : " and ", "\"", source.input(), "\" ", range(source.begin(), source.end()));
      std::string zero;
      for (const v1::Value& value : source.parameters().scale()) {
        if (value.value_size() == 1 && value.value(0) == 0) StrAppend(&zero, zero.empty() ? "" : ", ", value.filter());
      }
      if (!zero.empty()) StrAppend(&line, " with zero ", zero);
    }
    lines.push_back(std::move(line));
    at += length;
  }
  return lines;
}

Layout LayOutSlices(const Expansion& expansion, const Job& job, Findings* findings) {
  return Layouter(expansion, job, findings).Make();
}

}  // namespace editd::merge
