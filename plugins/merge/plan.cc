#include "plugins/merge/plan.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_join.h"
#include "plugins/merge/methods.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

using Values = google::protobuf::RepeatedPtrField<v1::Value>;

// The parameters of one tensor, from the inside out.
class Lookup {
 public:
  Lookup(const Row& row, const Scope& top) : row_(row), top_(top) {}

  // A number for all models: filters match the result's name.
  double Shared(const Values& (v1::Parameters::*field)() const, double unset) const {
    const Place place{row_.name, row_.layer, row_.layers};
    for (const Scope* scope : {row_.slice, &top_}) {
      if (scope == nullptr) continue;
      if (const auto value = ValueAt((scope->parameters->*field)(), place)) return *value;
    }
    return unset;
  }
  // A model's own: filters match the input's name.
  std::optional<double> Own(const Take& take, const Values& (v1::Parameters::*field)() const) const {
    const Place place{take.tensor->name, row_.layer, row_.layers};
    for (const Scope* scope : {take.scope, row_.slice, &top_}) {
      if (scope == nullptr) continue;
      if (const auto value = ValueAt((scope->parameters->*field)(), place)) return value;
    }
    return std::nullopt;
  }
  // A switch or a choice: the innermost that `has` it.
  template <typename Has, typename Get, typename T>
  T Choice(const Has& has, const Get& get, T unset) const {
    for (const Scope* scope : {row_.slice, &top_}) {
      if (scope != nullptr && has(*scope->parameters)) return get(*scope->parameters);
    }
    return unset;
  }

 private:
  const Row& row_;
  const Scope& top_;
};

#define EDITD_CHOICE(field, unset)                                       \
  lookup.Choice([](const v1::Parameters& p) { return p.has_##field(); }, \
                [](const v1::Parameters& p) { return p.field(); }, unset)
#define EDITD_ENUM(field, unset)                                        \
  lookup.Choice([](const v1::Parameters& p) { return p.field() != 0; }, \
                [](const v1::Parameters& p) { return p.field(); }, unset)

Settings SettingsOf(const MethodTraits& method, const Lookup& lookup, uint64_t seed) {
  using P = v1::Parameters;
  Settings s;
  s.method = method.method;
  s.normalize = EDITD_CHOICE(normalize, method.normalize);
  s.rescale = EDITD_ENUM(rescale, method.rescale);
  s.election = EDITD_ENUM(election, v1::ELECTION_WEIGHTED_SUM);
  s.divisor = EDITD_ENUM(divisor, v1::DIVISOR_WEIGHTS);
  s.flatten = EDITD_CHOICE(nuslerp_flatten, true);
  s.row_wise = EDITD_CHOICE(nuslerp_row_wise, false);
  s.normalize_weights = EDITD_CHOICE(normalize_weights, true);
  s.filter_wise = EDITD_CHOICE(filter_wise, false);
  s.lambda = lookup.Shared(&P::lambda, s.lambda);
  s.t = lookup.Shared(&P::t, s.t);
  s.epsilon = lookup.Shared(&P::epsilon, s.epsilon);
  s.select_topk = lookup.Shared(&P::select_topk, s.select_topk);
  s.r = lookup.Shared(&P::r, s.r);
  s.alpha = lookup.Shared(&P::alpha, s.alpha);
  s.eps = lookup.Shared(&P::eps, s.eps);
  s.tol = lookup.Shared(&P::tol, s.tol);
  s.max_iter = static_cast<int>(lookup.Shared(&P::max_iter, s.max_iter));
  s.seed = seed;
  return s;
}

std::optional<DType> FloatType(std::string_view name) {
  const std::optional<DType> type = DTypeFromName(name);
  if (type == DType::kF64 || type == DType::kF32 || type == DType::kF16 || type == DType::kBF16) return type;
  return std::nullopt;
}

std::string ShapeText(std::span<const int64_t> shape) { return StrCat("[", absl::StrJoin(shape, ", "), "]"); }

class Planner {
 public:
  Planner(const Expansion& expansion, const Job& job, const Vocabulary* vocabulary, Findings* findings)
      : expansion_(expansion),
        spec_(expansion.spec),
        job_(job),
        vocabulary_(vocabulary),
        findings_(*findings),
        method_(TraitsOf(spec_.method())) {}

  // As far as the spec can be understood: all that is wrong with it is told at once.
  MergePlan Make() {
    MergePlan plan;
    plan.top = {&spec_.parameters(), "parameters"};
    const bool expanded = findings_.empty();
    CheckWhole();
    if (!expanded) return plan;
    const size_t before = findings_.size();
    plan.layout =
        spec_.slices().empty() ? LayOutModels(spec_, job_, &findings_) : LayOutSlices(expansion_, job_, &findings_);
    if (method_ == nullptr) return plan;
    CheckModels();
    complete_ = findings_.size() == before;
    std::set<std::string> names;
    for (const Row& row : plan.layout.rows) names.insert(row.name);
    CheckScope(plan.top, spec_.method(), names, &findings_);
    for (const auto& scope : plan.layout.scopes) CheckScope(*scope, spec_.method(), names, &findings_);
    for (const Row& row : plan.layout.rows) {
      auto tensor = std::make_unique<PlannedTensor>();
      tensor->row = &row;
      if (PlanTensor(row, plan.top, tensor.get())) plan.tensors.push_back(std::move(tensor));
    }
    return plan;
  }

 private:
  // What the spec says as a whole.
  void CheckWhole() {
    if (method_ == nullptr && !spec_.has_block_expansion() && !spec_.has_layer_swap()) {
      findings_.Add("method", "is not set; METHOD_LINEAR, METHOD_SLERP and METHOD_TIES are usual");
    }
    if (!spec_.out_dtype().empty() && (!FloatType(spec_.out_dtype()) || spec_.out_dtype() == "F64")) {
      findings_.Add("out_dtype", StrCat("\"", spec_.out_dtype(), "\" is none of BF16, F16, F32"));
    }
    if (spec_.has_vocabulary()) CheckVocabulary();
    const std::string& chat = spec_.chat_template();
    if (!chat.empty() && chat != "auto" && chat.find('{') == std::string::npos) {
      ResolveInput(job_, chat, "chat_template", &findings_);
    }
  }

  void CheckVocabulary() {
    const v1::Vocabulary& vocabulary = spec_.vocabulary();
    if (vocabulary.of() == v1::VOCABULARY_OF_UNSPECIFIED) {
      findings_.Add("vocabulary.of", "is not set; VOCABULARY_OF_BASE keeps the base's tokens");
    } else if (vocabulary.of() == v1::VOCABULARY_OF_INPUT) {
      ResolveInput(job_, vocabulary.input(), "vocabulary.input", &findings_);
    } else if (!vocabulary.input().empty()) {
      findings_.Add("vocabulary.input", "is only read with VOCABULARY_OF_INPUT");
    }
    if (vocabulary.pad_to_multiple() > 1 << 16) {
      findings_.Add("vocabulary.pad_to_multiple", "is more than 65536; 64 or 128 is usual");
    }
    for (const Model& model : job_.models()) {
      if (model.FindFile("tokenizer.json") != nullptr) continue;
      findings_.Add("vocabulary",
                    StrCat("\"", NameOf(model), "\" has no tokenizer.json; its vocabulary can't be matched"));
    }
    for (int i = 0; i < vocabulary.token_size(); ++i) {
      const v1::TokenRow& rule = vocabulary.token(i);
      const std::string path = StrCat("vocabulary.token[", i, "]");
      if (rule.token().empty()) findings_.Add(StrCat(path, ".token"), "is empty; name a token");
      if (rule.row_case() == v1::TokenRow::kInput) ResolveInput(job_, rule.input(), StrCat(path, ".input"), &findings_);
      if (rule.has_other()) ResolveInput(job_, rule.other().input(), StrCat(path, ".other.input"), &findings_);
      if (rule.has_other() && rule.other().which_case() == v1::OtherToken::WHICH_NOT_SET) {
        findings_.Add(StrCat(path, ".other"), "names no token; give token or id");
      }
      if (rule.row_case() == v1::TokenRow::ROW_NOT_SET && !rule.force()) {
        findings_.Add(path, "says nothing; give input, other, zero or force");
      }
    }
  }

  // The inputs that the spec names anywhere.
  std::set<size_t> Named() const {
    std::set<size_t> named;
    const auto add = [&](const std::string& name) {
      const std::optional<size_t> model = name.empty() ? std::nullopt : FindInput(job_, name);
      if (model.has_value()) named.insert(*model);
    };
    add(spec_.base());
    for (const v1::Source& source : spec_.models()) add(source.input());
    for (const v1::Slice& slice : spec_.slices()) {
      add(slice.base());
      for (const v1::SliceSource& source : slice.sources()) add(source.input());
    }
    for (const std::string* name :
         {&expansion_.embeddings, &expansion_.head, &spec_.vocabulary().input(), &spec_.chat_template()}) {
      add(*name);
    }
    for (const v1::TokenRow& rule : spec_.vocabulary().token()) {
      add(rule.input());
      add(rule.other().input());
    }
    return named;
  }

  // How many models, whether a base, and whether all inputs take part.
  void CheckModels() {
    const std::string name = MethodName(spec_.method());
    // Each slice may have its own.
    const bool has_base =
        !spec_.base().empty() ||
        (!spec_.slices().empty() && std::all_of(spec_.slices().begin(), spec_.slices().end(),
                                                [](const auto& slice) { return !slice.base().empty(); }));
    if (method_->base == Base::kMust && !has_base) {
      findings_.Add("base", StrCat("is empty; the method ", name, " takes differences from a base"));
    }
    size_t most = 0;
    if (!spec_.models().empty()) most = CheckCount("models", spec_.base(), spec_.models());
    for (int i = 0; i < spec_.slices_size(); ++i) {
      const v1::Slice& slice = spec_.slices(i);
      const std::string& base = slice.base().empty() ? spec_.base() : slice.base();
      most = std::max(most, CheckCount(StrCat("slices[", i, "].sources"), base, slice.sources()));
    }
    if (most < method_->least) TellCount(spec_.slices().empty() ? "models" : "slices", most);
    const std::set<size_t> named = Named();
    for (size_t i = 0; i < job_.models().size(); ++i) {
      if (job_.model(i).Attribute("kind") == "adapter") {
        findings_.Add("", StrCat("the job's input \"", NameOf(job_.model(i)),
                                 "\" is an adapter, not a model; the plugin "
                                 "adapter merges it into one, or several into one adapter"));
      }
      if (!named.contains(i)) {
        findings_.Add("models",
                      StrCat("the job's input \"", NameOf(job_.model(i)), "\" takes no part; list it or leave it out"));
      }
    }
  }

  // Of models that become one. A slice of fewer than the method needs is the first as it is.
  template <typename Sources>
  size_t CheckCount(const std::string& path, const std::string& base, const Sources& sources) {
    size_t models = 0;
    for (const auto& source : sources) {
      const bool is_base = !base.empty() && source.input() == base;
      if (is_base && method_->base == Base::kMay) {
        findings_.Add("base", StrCat("\"", base, "\" is also listed as a model; ", MethodName(spec_.method()),
                                     " would take its difference from itself"));
      }
      if (!is_base || method_->base == Base::kNone) ++models;
    }
    if (models > method_->most) TellCount(path, models);
    return models;
  }

  void TellCount(const std::string& path, size_t models) {
    const std::string wanted =
        method_->least == method_->most ? StrCat("exactly ", method_->least) : StrCat("at least ", method_->least);
    findings_.Add(path, StrCat("the method ", MethodName(spec_.method()), " takes ", wanted,
                               method_->base == Base::kNone ? "" : " besides the base", "; there ",
                               models == 1 ? "is " : "are ", models));
  }

  bool IsBase(const Row& row, const Take& take) const { return row.base.has_value() && take.model == row.base->model; }

  // False: the tensor is left out.
  bool PlanTensor(const Row& row, const Scope& top, PlannedTensor* out) {
    // Differences are from the base; a listed base has none from itself.
    const bool differs = method_->base == Base::kMust ||
                         (method_->base == Base::kMay && (row.base.has_value() || !spec_.base().empty()));
    std::vector<Take> takes;
    for (const Take& take : row.takes) {
      if (!differs || !IsBase(row, take)) takes.push_back(take);
    }
    const Take* first = row.base.has_value() ? &*row.base : row.takes.empty() ? nullptr : &row.takes[0];
    if (first == nullptr || (differs && !row.base.has_value())) return false;  // MISSING_SKIP.
    const Tensor& like = *first->tensor;

    for (const Take& take : row.takes) CheckShape(row, like, *first, take);
    if (!FloatType(like.dtype)) return Keep(row, like, out);
    for (const Take& take : row.takes) {
      if (!FloatType(take.tensor->dtype)) {
        findings_.AddFor("models", StrCat("type ", take.model),
                         StrCat("tensor \"", take.tensor->name, "\" of \"", NameOf(job_.model(take.model)), "\" is ",
                                take.tensor->dtype, "; F64, F32, F16 and BF16 can be merged"));
      }
    }

    TensorPlan& plan = out->plan;
    plan.name = row.name;
    plan.shape.assign(like.shape.begin(), like.shape.end());
    plan.type =
        FloatType(spec_.out_dtype().empty() ? like.dtype : std::string_view(spec_.out_dtype())).value_or(DType::kF32);
    if (plan.type == DType::kF64) plan.type = DType::kF32;
    const bool rows_differ = spec_.has_vocabulary() && HasTokenRows(row.name);
    if (rows_differ && plan.shape.empty()) {
      findings_.AddFor("vocabulary", "scalar", StrCat("tensor \"", row.name, "\" has no rows"));
    }
    const bool gathers = rows_differ && vocabulary_ != nullptr && findings_.empty();  // Of shapes that fit.
    if (gathers) plan.shape[0] = vocabulary_->rows;
    if (takes.size() < method_->least) {  // MISSING_SKIP left too few, or a slice has one source.
      const Take& alone = row.slice != nullptr && row.takes.size() == 1 ? row.takes[0] : *first;
      out->takes = {alone};
      PassThrough(*alone.tensor, &plan);
      if (gathers) Gather(row, out);
      if (!out->gathers.empty()) return true;
      out->reused = alone.tensor;
      return CheckReuse(out);
    }
    const Lookup lookup(row, top);
    const bool wants_t = method_->method == v1::METHOD_SLERP || method_->method == v1::METHOD_NEARSWAP;
    if (wants_t && lookup.Shared(&v1::Parameters::t, -1) < 0) {
      findings_.AddFor("parameters.t", "none",
                       StrCat("is not set for tensor \"", row.name, "\"; ", MethodName(spec_.method()), " needs it"));
    }
    out->takes = takes;
    out->differs = differs;
    plan.settings = SettingsOf(*method_, lookup, job_.seed());
    if (differs) plan.base = SourceOf(*row.base);
    for (const Take& take : takes) plan.parts.push_back(PartOf(row, take, lookup));
    CheckNumbers(row, plan);
    if (gathers) Gather(row, out);
    if (out->gathers.empty()) out->reused = Same(row, takes, plan);
    return out->reused == nullptr || CheckReuse(out);
  }

  // Rows in the order of the result's tokens, wherever that is not the model's own.
  void Gather(const Row& row, PlannedTensor* out) {
    TensorPlan& plan = out->plan;
    const auto gather = [&](const Take& take, Source* source) {
      const RowMap& map = vocabulary_->models[take.model];
      const int64_t rows = take.tensor->shape[0];
      bool same = rows == vocabulary_->rows;
      for (size_t i = 0; i < map.rows.size(); ++i) {
        same = same && map.rows[i] == static_cast<int32_t>(i);
        if (map.rows[i] < rows) continue;
        findings_.AddFor("vocabulary", StrCat("rows ", take.model),
                         StrCat("token ", map.rows[i], " of \"", NameOf(job_.model(take.model)), "\" has no row in \"",
                                take.tensor->name, "\", which has ", rows));
      }
      if (same) return;
      auto made = std::make_unique<RowGather>();
      made->map = &map;
      made->own = take.model;
      made->columns = plan.shape.size() < 2 ? 1 : plan.columns();
      for (size_t i = 0; i < job_.models().size(); ++i) {
        RowGather::Table& table = made->tables.emplace_back();
        const Tensor* const tensor = FindShared(job_.model(i), row.name);
        if (tensor == nullptr || !FloatType(tensor->dtype) || tensor->shape.size() != plan.shape.size()) continue;
        if (tensor->shape.size() > 1 && tensor->shape[1] != plan.columns()) continue;
        table = {*FloatType(tensor->dtype), tensor->data, tensor->shape[0]};
      }
      for (const std::vector<RowOf>& list : map.lists) {
        for (const RowOf& from : list) {
          if (made->tables[from.model].data == nullptr || from.row < made->tables[from.model].rows) continue;
          findings_.AddFor("vocabulary", StrCat("rows ", from.model),
                           StrCat("token ", from.row, " of \"", NameOf(job_.model(from.model)), "\" has no row"));
        }
      }
      source->gather = made.get();
      out->gathers.push_back(std::move(made));
    };
    if (plan.base.has_value()) gather(*row.base, &*plan.base);
    for (size_t i = 0; i < plan.parts.size(); ++i) gather(out->takes[i], &plan.parts[i].source);
  }

  Source SourceOf(const Take& take) const {
    return {FloatType(take.tensor->dtype).value_or(DType::kF32), take.tensor->data, NameOf(job_.model(take.model))};
  }

  Part PartOf(const Row& row, const Take& take, const Lookup& lookup) {
    using P = v1::Parameters;
    Part part;
    part.source = SourceOf(take);
    part.stream = take.place;
    const std::optional<double> weight = lookup.Own(take, &P::weight);
    if (method_->weights && !weight.has_value()) {
      const std::string path = take.scope == nullptr ? "parameters.weight" : StrCat(take.scope->path, ".weight");
      findings_.AddFor(path, "none",
                       StrCat("\"", NameOf(job_.model(take.model)), "\" has no weight for tensor \"", row.name, "\""));
    }
    part.weight = weight.value_or(1);
    part.density = lookup.Own(take, &P::density).value_or(part.density);
    part.gamma = lookup.Own(take, &P::gamma).value_or(part.gamma);
    part.epsilon = lookup.Own(take, &P::epsilon).value_or(part.epsilon);
    part.scale = lookup.Own(take, &P::scale).value_or(part.scale);
    return part;
  }

  void CheckShape(const Row& row, const Tensor& like, const Take& first, const Take& take) {
    const Tensor& tensor = *take.tensor;
    if (std::equal(tensor.shape.begin(), tensor.shape.end(), like.shape.begin(), like.shape.end())) return;
    const bool rows_differ = HasTokenRows(row.name) && !tensor.shape.empty() &&
                             tensor.shape.size() == like.shape.size() &&
                             std::equal(tensor.shape.begin() + 1, tensor.shape.end(), like.shape.begin() + 1);
    if (rows_differ && spec_.has_vocabulary()) return;
    findings_.AddFor(
        take.scope == nullptr ? "base" : take.scope->path.substr(0, take.scope->path.rfind('.')), "shape",
        StrCat("tensor \"", row.name, "\" is ", ShapeText(tensor.shape), " in \"", NameOf(job_.model(take.model)),
               "\" and ", ShapeText(like.shape), " in \"", NameOf(job_.model(first.model)), "\"",
               rows_differ ? "; set vocabulary to match rows by token" : ""));
  }

  // Numbers that are wrong only together.
  void CheckNumbers(const Row& row, const TensorPlan& plan) {
    const Settings& s = plan.settings;
    double sum = 0;
    for (const Part& part : plan.parts) sum += part.weight;
    const bool divides = (s.method == v1::METHOD_MULTISLERP && s.normalize_weights) ||
                         (s.normalize && s.method != v1::METHOD_MULTISLERP);
    if (complete_ && method_->weights && divides && std::fabs(sum) < 1e-8) {
      findings_.AddFor(
          "models", "sum",
          StrCat("the weights for tensor \"", row.name, "\" sum to ", sum, ", and are divided by their sum; set ",
                 s.method == v1::METHOD_MULTISLERP ? "normalize_weights" : "normalize", ": false or other weights"));
    }
    if (s.method == v1::METHOD_SLERP && s.t > 1) {
      findings_.AddFor("parameters.t", "slerp",
                       StrCat("t is ", s.t, " for tensor \"", row.name, "\"; slerp takes 0 to 1"));
    }
    if (s.method != v1::METHOD_DELLA && s.method != v1::METHOD_DELLA_LINEAR) return;
    for (const Part& part : plan.parts) {
      if (part.density >= 1 || (part.density - part.epsilon > 0 && part.density + part.epsilon < 1)) continue;
      findings_.AddFor("parameters.epsilon", "range",
                       StrCat("density ", part.density, " with epsilon ", part.epsilon, " for tensor \"", row.name,
                              "\": density - epsilon must be above 0 and density + epsilon below 1"));
    }
  }

  bool Keep(const Row& row, const Tensor& like, PlannedTensor* out) {
    if (!DTypeFromName(like.dtype) || kDTypes[static_cast<int>(*DTypeFromName(like.dtype))].floating) {
      findings_.AddFor("models", "float8",
                       StrCat("tensor \"", row.name, "\" is ", like.dtype, "; F64, F32, F16 and BF16 can be merged"));
    }
    out->reused = &like;  // Integers: the base's, or the first model's.
    return true;
  }

  // A tensor of another type than the result's is converted, as a sum of one.
  bool CheckReuse(PlannedTensor* out) {
    const Tensor& tensor = *out->reused;
    if (spec_.out_dtype().empty() || tensor.dtype == spec_.out_dtype()) return true;
    PassThrough(tensor, &out->plan);
    out->reused = nullptr;
    return true;
  }

  void PassThrough(const Tensor& tensor, TensorPlan* plan) const {
    plan->settings.method = v1::METHOD_PASSTHROUGH;
    plan->base.reset();
    plan->parts = {Part()};
    plan->parts[0].source = {FloatType(tensor.dtype).value_or(DType::kF32), tensor.data,
                             NameOf(job_.model(tensor.input))};
  }

  // The input's tensor that the result is whatever the numbers in it, or null.
  const Tensor* Same(const Row& row, const std::vector<Take>& takes, const TensorPlan& plan) const {
    const Settings& s = plan.settings;
    const auto weighs = [&](size_t i) { return plan.parts[i].weight != 0; };
    const bool equal =
        takes[0].tensor->data != nullptr && std::all_of(takes.begin(), takes.end(), [&](const Take& take) {
          return take.tensor->data == takes[0].tensor->data && take.tensor->dtype == takes[0].tensor->dtype;
        });
    const bool equal_base = equal && row.base.has_value() && row.base->tensor->data == takes[0].tensor->data;
    switch (s.method) {
      case v1::METHOD_PASSTHROUGH:
        return plan.parts[0].scale == 1 ? takes[0].tensor : nullptr;
      case v1::METHOD_LINEAR: {
        const Tensor* only = nullptr;
        double sum = 0;
        for (size_t i = 0; i < takes.size(); ++i) {
          if (!weighs(i)) continue;
          if (only != nullptr && !equal) return nullptr;
          only = takes[i].tensor;
          sum += plan.parts[i].weight;
        }
        return s.normalize || sum == 1 ? only : nullptr;
      }
      case v1::METHOD_SLERP:
        if (s.t == 0 || equal_base) return row.base->tensor;
        return s.t == 1 ? takes[0].tensor : nullptr;
      case v1::METHOD_NUSLERP:
        if (!weighs(1) && weighs(0)) return takes[0].tensor;
        if (!weighs(0) && weighs(1)) return takes[1].tensor;
        return equal ? takes[0].tensor : nullptr;
      case v1::METHOD_MULTISLERP:
        return equal && s.normalize_weights ? takes[0].tensor : nullptr;
      case v1::METHOD_KARCHER:
        return equal ? takes[0].tensor : nullptr;
      case v1::METHOD_NEARSWAP:
        return s.t == 0 || equal_base ? row.base->tensor : nullptr;
      default: {  // Of differences: where there are none, the base.
        bool none = s.lambda == 0;
        if (method_->weights && !none) {
          none = true;
          for (size_t i = 0; i < takes.size(); ++i) none = none && !weighs(i);
        }
        return none || equal_base ? row.base->tensor : nullptr;
      }
    }
  }

  const Expansion& expansion_;
  const v1::MergeSpec& spec_;
  const Job& job_;
  const Vocabulary* const vocabulary_;
  Findings& findings_;
  const MethodTraits* const method_;
  bool complete_ = false;  // Each tensor has all models that the spec lists for it.
};

}  // namespace

MergePlan MakePlan(const v1::MergeSpec& spec, const Job& job, const Vocabulary* vocabulary, Findings* findings) {
  auto expansion = std::make_unique<const Expansion>(Expand(spec, job, findings));
  MergePlan plan = Planner(*expansion, job, vocabulary, findings).Make();
  plan.expansion = std::move(expansion);
  return plan;
}

}  // namespace editd::merge
