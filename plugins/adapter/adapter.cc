// The plugin "adapter": LoRA adapters are merged, combined and extracted. Page: README.md beside this file.
#include <algorithm>
#include <cmath>

#include "editd/plugin.hpp"
#include "editd/plugins/adapter/v1/adapter.pb.h"
#include "plugins/adapter/combine.h"
#include "plugins/adapter/extract.h"
#include "plugins/adapter/merge.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

constexpr double kMaxRank = 65536;

// The inputs of a spec by their roles.
struct Inputs {
  MergeInputs merge;  // base, trained_on and adapters; combine uses the adapters, extract the base.
  const Model* tuned = nullptr;
};

// Collects problems, or passes them on as they come: `field` is a path below params, empty for the inputs.
using Finder = std::function<void(std::string_view field, const std::string& message)>;

bool IsAdapter(const Model& model) { return model.Attribute("kind") == "adapter"; }

class AdapterEdit : public Plugin<v1::AdapterSpec, v1::AdapterResult> {
 public:
  absl::Status Check(const v1::AdapterSpec& spec, Job& job) override {
    Inputs inputs;
    Examine(spec, job, false, &inputs,
            [&](std::string_view field, const std::string& message) { job.Finding(field, message); });
    return absl::OkStatus();
  }

  absl::StatusOr<v1::AdapterResult> Run(const v1::AdapterSpec& spec, Job& job) override {
    Inputs inputs;
    std::string problems;
    const MergePlan plan = Examine(spec, job, true, &inputs, [&](std::string_view field, const std::string& message) {
      StrAppend(&problems, problems.empty() ? "" : "\n  ", field, field.empty() ? "" : ": ", message);
    });
    if (!problems.empty()) return absl::InvalidArgumentError(problems);
    v1::AdapterResult result;
    for (const Adapter& adapter : inputs.merge.adapters) Describe(adapter, inputs, &result);
    if (spec.has_merge()) RETURN_IF_ERROR(RunMerge(spec.merge(), inputs.merge, plan, job, &result));
    if (spec.has_combine()) RETURN_IF_ERROR(RunCombine(spec.combine(), inputs.merge.adapters, job, &result));
    if (spec.has_extract()) {
      RETURN_IF_ERROR(RunExtract(spec.extract(), *inputs.merge.base, *inputs.tuned, job, &result));
    }
    for (const std::string& remark : result.remark()) job.Warning(remark);
    return result;
  }

 private:
  MergePlan Examine(const v1::AdapterSpec& spec, Job& job, bool configuration, Inputs* inputs, const Finder& find);
  static void FindInputs(const v1::AdapterSpec& spec, Job& job, bool configuration, Inputs* inputs, const Finder& find);
  template <typename Weights>
  static void SetWeights(const Weights& weights, std::string_view field, Inputs* inputs, const Finder& find);
  static void CheckCombination(const v1::Combination& how, std::string_view field, const Finder& find);
  static void CheckSaved(const v1::Merge& spec, const Inputs& inputs, const Finder& find);
  static void Describe(const Adapter& adapter, const Inputs& inputs, v1::AdapterResult* result);
};

void AdapterEdit::FindInputs(const v1::AdapterSpec& spec, Job& job, bool configuration, Inputs* inputs,
                             const Finder& find) {
  std::vector<std::string> problems;
  const auto one = [&](const Model& model, const Model** place) {
    if (*place != nullptr) find("", StrCat("two inputs are named \"", model.role, "\""));
    if (IsAdapter(model)) find("", StrCat("\"", model.name, "\" is an adapter; \"", model.role, "\" is a model"));
    *place = &model;
  };
  const bool takes_adapters = !spec.has_extract();
  for (const Model& model : job.models()) {
    if (model.role == "adapter" && takes_adapters) {
      if (IsAdapter(model)) {
        inputs->merge.adapters.push_back(OpenAdapter(model, configuration, &problems));
      } else {
        find("", StrCat("\"", model.name, "\" is no adapter; editctl import takes a PEFT folder"));
      }
    } else if (model.role == "base" && !spec.has_combine()) {
      one(model, &inputs->merge.base);
    } else if (model.role == "trained_on" && spec.has_merge()) {
      one(model, &inputs->merge.trained_on);
    } else if (model.role == "tuned" && spec.has_extract()) {
      one(model, &inputs->tuned);
    } else {
      find("", StrCat("input \"", model.name, "\" is named \"", model.role, "\"; ",
                      spec.has_merge()     ? "merge takes \"base\", \"adapter\" and \"trained_on\""
                      : spec.has_combine() ? "combine takes \"adapter\""
                                           : "extract takes \"base\" and \"tuned\""));
    }
  }
  for (const std::string& problem : problems) find("", problem);
  const auto missing = [&](std::string_view role) { find("", StrCat("no input is named \"", role, "\"")); };
  if (takes_adapters && inputs->merge.adapters.empty()) missing("adapter");
  if (!spec.has_combine() && inputs->merge.base == nullptr) missing("base");
  if (spec.has_extract() && inputs->tuned == nullptr) missing("tuned");
}

template <typename Weights>
void AdapterEdit::SetWeights(const Weights& weights, std::string_view field, Inputs* inputs, const Finder& find) {
  if (weights.empty()) return;
  std::vector<Adapter>& adapters = inputs->merge.adapters;
  if (static_cast<size_t>(weights.size()) != adapters.size()) {
    find(field, StrCat("has ", weights.size(), " numbers for ", adapters.size(), " adapters"));
    return;
  }
  for (int i = 0; i < weights.size(); ++i) {
    if (!std::isfinite(weights.Get(i))) find(StrCat(field, "[", i, "]"), "is no number");
    if (weights.Get(i) == 0) find(StrCat(field, "[", i, "]"), "is 0; leave the adapter out");
    adapters[i].weight = weights.Get(i);
  }
}

void AdapterEdit::CheckCombination(const v1::Combination& how, std::string_view field, const Finder& find) {
  if (!v1::CombinationMethod_IsValid(how.method())) {
    find(StrCat(field, ".method"), StrCat("is ", static_cast<int>(how.method()), ", which is no method"));
  }
  if (!v1::SignElection_IsValid(how.sign())) {
    find(StrCat(field, ".sign"), StrCat("is ", static_cast<int>(how.sign()), ", which is no rule"));
  }
  const bool sums = how.method() <= v1::COMBINATION_METHOD_SUM;
  const bool elects = how.method() == v1::COMBINATION_METHOD_TIES || how.method() == v1::COMBINATION_METHOD_DARE_TIES;
  if (sums && how.density() != 0) find(StrCat(field, ".density"), "is set, but SUM keeps all elements");
  if (!sums && !(how.density() > 0 && how.density() <= 1)) {
    find(StrCat(field, ".density"), StrCat("is ", how.density(), "; above 0 and at most 1 is needed"));
  }
  if (!elects && how.sign() != v1::SIGN_ELECTION_UNSPECIFIED) {
    find(StrCat(field, ".sign"), "is set, but the method elects no signs");
  }
}

// Tensors that an adapter brings in full would wipe out what another base has learnt.
void AdapterEdit::CheckSaved(const v1::Merge& spec, const Inputs& inputs, const Finder& find) {
  if (!v1::SavedTensors_IsValid(spec.saved_tensors())) {
    find("merge.saved_tensors", StrCat("is ", static_cast<int>(spec.saved_tensors()), ", which is no choice"));
  }
  if (spec.saved_tensors() == v1::SAVED_TENSORS_CHANGE && inputs.merge.trained_on == nullptr) {
    find("merge.saved_tensors",
         "is CHANGE, which needs the model that the adapter was trained on as an input named "
         "\"trained_on\"");
  }
  if (spec.saved_tensors() != v1::SAVED_TENSORS_UNSPECIFIED || inputs.merge.trained_on != nullptr) return;
  for (const Adapter& adapter : inputs.merge.adapters) {
    const std::string_view known = adapter.model->Attribute("adapter.base_version");
    if (known.empty() || known == inputs.merge.base->version || adapter.layout.saved.empty()) continue;
    find("merge.saved_tensors",
         StrCat("\"", adapter.model->name, "\" brings \"", adapter.layout.saved[0].target,
                "\" in full and was made for version ", known.substr(0, 12), ", not for \"", inputs.merge.base->name,
                "\"; name that version as the input \"trained_on\", or say SAVED_TENSORS_REPLACE"));
  }
}

MergePlan AdapterEdit::Examine(const v1::AdapterSpec& spec, Job& job, bool configuration, Inputs* inputs,
                               const Finder& find) {
  MergePlan plan;
  if (spec.edit_case() == v1::AdapterSpec::EDIT_NOT_SET) {
    find("", "says nothing to do; give merge, combine or extract");
    return plan;
  }
  FindInputs(spec, job, configuration, inputs, find);
  std::vector<std::string> problems;
  const unsigned threads = job.threads();
  uint64_t memory = 64 << 20, disk = 0;
  if (spec.has_merge()) {
    SetWeights(spec.merge().weight(), "merge.weight", inputs, find);
    CheckCombination(spec.merge().combination(), "merge.combination", find);
    if (!v1::MergeOnto_IsValid(spec.merge().onto())) {
      find("merge.onto", StrCat("is ", static_cast<int>(spec.merge().onto()), ", which is no choice"));
    }
    if (!spec.merge().not_quantised().empty() && spec.merge().onto() <= v1::MERGE_ONTO_BASE) {
      find("merge.not_quantised", "is set, but merge.onto quantises nothing");
    }
    if (inputs->merge.base != nullptr && !IsAdapter(*inputs->merge.base)) {
      CheckSaved(spec.merge(), *inputs, find);
      plan = PlanMerge(spec.merge(), inputs->merge, &problems);
      memory = MergeMemory(inputs->merge, plan, threads);
      for (const Tensor& tensor : inputs->merge.base->tensors) {
        if (plan.changed.count(std::string(tensor.name)) != 0 || Quantised(spec.merge(), tensor)) disk += tensor.size;
        if (Quantised(spec.merge(), tensor)) memory = std::max(memory, (64 << 20) + tensor.size / 4);
      }
    }
  } else if (spec.has_combine()) {
    const v1::Combine& combine = spec.combine();
    SetWeights(combine.weight(), "combine.weight", inputs, find);
    CheckCombination(combine.combination(), "combine.combination", find);
    if (!v1::CombineForm_IsValid(combine.form())) {
      find("combine.form", StrCat("is ", static_cast<int>(combine.form()), ", which is no form"));
    }
    if (combine.form() <= v1::COMBINE_FORM_CAT && combine.combination().method() > v1::COMBINATION_METHOD_SUM) {
      find("combine.form", "is CAT, which only adds; use COMBINE_FORM_SVD or COMBINE_FORM_FACTORS");
    }
    if (combine.rank() != 0 && combine.form() != v1::COMBINE_FORM_SVD) {
      find("combine.rank", "is set, but only COMBINE_FORM_SVD cuts to a rank");
    }
    if (combine.rank() > kMaxRank) find("combine.rank", StrCat(combine.rank(), " is more than 65536"));
    CheckCombine(combine, inputs->merge.adapters, &problems);
    for (const Adapter& adapter : inputs->merge.adapters) {
      for (const Tensor& tensor : adapter.model->tensors) disk += 2 * tensor.size;
    }
    memory += disk / 2;
  } else {
    const v1::Extract& extract = spec.extract();
    if (extract.rank() > kMaxRank) find("extract.rank", StrCat(extract.rank(), " is more than 65536"));
    if (!(extract.energy() >= 0 && extract.energy() <= 1)) {
      find("extract.energy", StrCat("is ", extract.energy(), "; a share is between 0 and 1"));
    }
    if (!v1::OtherTensors_IsValid(extract.others())) {
      find("extract.others", StrCat("is ", static_cast<int>(extract.others()), ", which is no choice"));
    }
    if (inputs->merge.base != nullptr && inputs->tuned != nullptr) {
      CheckExtract(extract, *inputs->merge.base, *inputs->tuned, &problems);
      memory = ExtractMemory(extract, *inputs->merge.base, threads);
      const uint64_t rank = extract.rank() == 0 ? 16 : extract.rank();
      for (const Tensor& tensor : inputs->tuned->tensors) {
        if (tensor.shape.size() == 2) disk += 4 * rank * static_cast<uint64_t>(tensor.shape[0] + tensor.shape[1]);
      }
    }
  }
  for (const std::string& problem : problems) find("", problem);
  if (!configuration) job.Estimate(memory, disk + (1 << 20));
  return plan;
}

void AdapterEdit::Describe(const Adapter& adapter, const Inputs& inputs, v1::AdapterResult* result) {
  v1::UsedAdapter* used = result->add_adapter();
  used->set_name(std::string(adapter.model->name));
  used->set_version(std::string(adapter.model->version));
  used->set_weight(adapter.weight);
  used->set_rank(std::string(adapter.model->Attribute("adapter.rank")));
  used->set_trained_on(adapter.config.base_model);
  const Model* base = inputs.merge.base;
  if (base == nullptr) return;
  const std::string_view known = adapter.model->Attribute("adapter.base_version");
  const bool other = known.empty()
                         ? inputs.merge.trained_on != nullptr && inputs.merge.trained_on->version != base->version
                         : known != base->version;
  if (other) {
    result->add_remark(StrCat("\"", adapter.model->name, "\" was trained on another model",
                              adapter.config.base_model.empty() ? "" : " (" + adapter.config.base_model + ")",
                              " than \"", base->name, "\"; the shapes fit"));
  } else if (known.empty() && inputs.merge.trained_on == nullptr) {
    result->add_remark(StrCat(
        "\"", adapter.model->name, "\" was trained on ",
        adapter.config.base_model.empty() ? "a model that it does not name" : "\"" + adapter.config.base_model + "\"",
        "; whether that is \"", base->name, "\" cannot be told, but the shapes fit"));
  }
}

}  // namespace
}  // namespace editd::adapter

EDIT_PLUGIN("adapter", editd::adapter::AdapterEdit,
            {.version = "1.0.0",
             .summary = "merges LoRA adapters into models, combines them, extracts them from two models",
             .makes_version = true,
             .min_inputs = 1,
             .max_inputs = 64});
