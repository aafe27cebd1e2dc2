#include "plugins/adapter/combine.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "plugins/adapter/combination.h"
#include "plugins/adapter/low_rank.h"
#include "plugins/adapter/new_adapter.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

// PEFT saves the base's own matrix beside the factors of an embedding or a head.
bool IsCopy(const formats::SavedTensor& saved) { return saved.beside && saved.target.ends_with(".weight"); }

// The adapters' factors of one module.
using Parts = std::vector<Change>;

std::map<std::string, Parts> ByModule(const std::vector<Adapter>& adapters) {
  std::map<std::string, Parts> out;
  for (const Adapter& adapter : adapters) {
    for (const formats::LoraModule& module : adapter.layout.modules) {
      Change change;
      change.adapter = &adapter;
      change.module = &module;  // As outputs x inputs, embeddings too: elements are combined each by itself.
      out[module.module].push_back(change);
    }
  }
  return out;
}

float Share(const Change& part) {
  return static_cast<float>(part.adapter->weight * formats::ScaleOf(part.adapter->config, part.module->module).scale);
}

// Factors side by side: A_i times weight and scale, B_i as it is.
Factors Concatenated(const Parts& parts) {
  Factors out;
  out.rows = static_cast<uint64_t>(parts[0].module->outputs);
  out.columns = static_cast<uint64_t>(parts[0].module->inputs);
  for (const Change& part : parts) out.rank += static_cast<uint64_t>(part.module->rank);
  out.b.resize(out.rows * out.rank);
  uint64_t at = 0;
  for (const Change& part : parts) {
    const std::shared_ptr<const float> a = AsFloats(part.adapter->tensor(part.module->a));
    const std::shared_ptr<const float> b = AsFloats(part.adapter->tensor(part.module->b));
    const auto rank = static_cast<uint64_t>(part.module->rank);
    const float share = Share(part);
    for (uint64_t i = 0; i < rank * out.columns; ++i) out.a.push_back(a.get()[i] * share);
    for (uint64_t i = 0; i < out.rows; ++i) {
      std::copy_n(b.get() + i * rank, rank, out.b.begin() + static_cast<ptrdiff_t>(i * out.rank + at));
    }
    at += rank;
  }
  return out;
}

std::vector<float> Values(const Matrix& matrix) {
  std::vector<float> out(matrix.rows * matrix.columns);
  matrix.fill(0, matrix.rows, out.data());
  return out;
}

// The combination of A and that of B, each by itself. The weight goes to both as its square root, the sign to A.
absl::StatusOr<Factors> ByFactors(const v1::Combine& spec, const Parts& parts, const std::vector<Adapter>& adapters,
                                  Job& job) {
  std::vector<Weighted> a, b;
  for (const Change& part : parts) {
    const double share = static_cast<double>(Share(part)), root = std::sqrt(std::fabs(share));
    const auto stream = static_cast<uint32_t>(part.adapter - adapters.data());
    a.push_back({AsMatrix(part.adapter->tensor(part.module->a)), share < 0 ? -root : root, stream});
    b.push_back({AsMatrix(part.adapter->tensor(part.module->b)), root, stream});
  }
  const std::string& module = parts[0].module->module;
  Factors out;
  out.rows = static_cast<uint64_t>(parts[0].module->outputs);
  out.columns = static_cast<uint64_t>(parts[0].module->inputs);
  out.rank = static_cast<uint64_t>(parts[0].module->rank);
  ASSIGN_OR_RETURN(const Matrix all_a, Combined(job, spec.combination(), std::move(a), module + ".A"));
  ASSIGN_OR_RETURN(const Matrix all_b, Combined(job, spec.combination(), std::move(b), module + ".B"));
  out.a = Values(all_a);
  out.b = Values(all_b);
  return out;
}

absl::StatusOr<Factors> ToRank(const v1::Combine& spec, const Parts& parts, const std::vector<Adapter>& adapters,
                               Job& job, v1::AdapterResult* result) {
  RankRule rule;
  rule.most = spec.rank();
  for (const Change& part : parts) {
    if (spec.rank() == 0) rule.most = std::max<uint64_t>(rule.most, static_cast<uint64_t>(part.module->rank));
  }
  std::vector<Weighted> weighted;
  for (const Change& part : parts) {
    weighted.push_back({LowRank(part), part.adapter->weight, static_cast<uint32_t>(part.adapter - adapters.data())});
  }
  const std::string& module = parts[0].module->module;
  ASSIGN_OR_RETURN(const Matrix all, Combined(job, spec.combination(), std::move(weighted), module));
  Factors factors;
  if (spec.combination().method() <= v1::COMBINATION_METHOD_SUM) {
    factors = CutFactors(Concatenated(parts), rule);
  } else {
    ASSIGN_OR_RETURN(factors, CutToRank(job, all, rule, module));
  }
  ASSIGN_OR_RETURN(const Distance distance, Measure(job, all, factors));
  v1::Cut* cut = result->add_cut();
  cut->set_module(module);
  cut->set_rank(static_cast<uint32_t>(factors.rank));
  cut->set_error(distance.relative());
  cut->set_largest_element(static_cast<double>(distance.largest));
  result->set_largest_error(std::max(result->largest_error(), distance.relative()));
  return factors;
}

}  // namespace

void CheckCombine(const v1::Combine& spec, const std::vector<Adapter>& adapters, std::vector<std::string>* problems) {
  for (const auto& [module, parts] : ByModule(adapters)) {
    for (const Change& part : parts) {
      const formats::LoraModule &first = *parts[0].module, &own = *part.module;
      const auto differ = [&](std::string_view what) {
        problems->push_back(StrCat("module \"", module, "\" of \"", part.adapter->model->name, "\" and of \"",
                                   parts[0].adapter->model->name, "\" have not the same ", what));
      };
      if (own.embedding != first.embedding) differ("kind");
      if (own.inputs != first.inputs || own.outputs != first.outputs) differ("shape");
      if (spec.form() == v1::COMBINE_FORM_FACTORS && own.rank != first.rank) {
        differ("rank; COMBINE_FORM_FACTORS needs that");
      }
      if (own.magnitude >= 0) {
        problems->push_back(StrCat("module \"", module, "\" of \"", part.adapter->model->name,
                                   "\" has DoRA's lengths, which no combined adapter can keep; merge it into a model"));
      }
    }
  }
  std::map<std::string, const Adapter*> saved;
  for (const Adapter& adapter : adapters) {
    const auto refuse = [&](std::string_view what, std::string_view why) {
      problems->push_back(StrCat("\"", adapter.model->name, "\" brings ", what, ", ", why));
    };
    for (const formats::SavedTensor& tensor : adapter.layout.saved) {
      if (IsCopy(tensor)) continue;
      const auto [it, first] = saved.emplace(tensor.target, &adapter);
      const std::string what = StrCat("\"", tensor.target, "\" in full");
      if (!first) refuse(what, StrCat("and so does \"", it->second->model->name, "\"; merge them into a model"));
      if (adapter.weight != 1) refuse(what, "which a weight cannot be given; let it be 1, or merge into a model");
    }
    if (!adapter.layout.rows.empty()) refuse("trained rows", "which cannot be combined; merge it into a model");
    if (adapter.config.fan_in_fan_out != adapters[0].config.fan_in_fan_out) {
      refuse("matrices", StrCat("stored the other way round than those of \"", adapters[0].model->name, "\""));
    }
  }
}

absl::Status RunCombine(const v1::Combine& spec, const std::vector<Adapter>& adapters, Job& job,
                        v1::AdapterResult* result) {
  NewAdapter made(job);
  const std::map<std::string, Parts> modules = ByModule(adapters);
  uint64_t done = 0;
  for (const auto& [module, parts] : modules) {
    RETURN_IF_ERROR(job.CheckStop());
    Factors factors;
    if (spec.form() == v1::COMBINE_FORM_SVD) {
      ASSIGN_OR_RETURN(factors, ToRank(spec, parts, adapters, job, result));
    } else if (spec.form() == v1::COMBINE_FORM_FACTORS) {
      ASSIGN_OR_RETURN(factors, ByFactors(spec, parts, adapters, job));
    } else {
      factors = Concatenated(parts);
    }
    RETURN_IF_ERROR(made.AddModule(module, parts[0].module->embedding, factors));
    job.Progress("modules", ++done, modules.size(), "modules");
  }
  formats::AdapterConfigText text;
  text.fan_in_fan_out = adapters[0].config.fan_in_fan_out;
  text.base_model = adapters[0].config.base_model;
  std::map<std::string, const Tensor*> copies;
  for (const Adapter& adapter : adapters) {
    for (const formats::SavedTensor& saved : adapter.layout.saved) {
      const Tensor& tensor = adapter.tensor(saved.tensor);
      const auto [copy, first] = copies.emplace(saved.target, &tensor);
      if (!first) {
        if (copy->second->dtype == tensor.dtype && copy->second->bytes() == tensor.bytes()) continue;
        return absl::InvalidArgumentError(StrCat("\"", saved.target, "\" of the base is not the same in \"",
                                                 adapter.model->name, "\" as in another adapter; merge them into a ",
                                                 "model"));
      }
      RETURN_IF_ERROR(made.AddSaved(saved.target, tensor));
      result->set_tensors_referenced(result->tensors_referenced() + 1);
    }
    if (adapter.config.base_model != text.base_model) {
      result->add_remark(StrCat("\"", adapter.model->name, "\" was trained on ", adapter.config.base_model, ", \"",
                                adapters[0].model->name, "\" on ", text.base_model));
    }
  }
  RETURN_IF_ERROR(made.Finish(std::move(text)));
  result->set_tensors_new(2 * modules.size());
  return absl::OkStatus();
}

}  // namespace editd::adapter
