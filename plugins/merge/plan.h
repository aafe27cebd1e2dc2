// The plan: a spec with everything decided. For each tensor of the result either the input's tensor that it is, or how
// it is computed, all parameters as numbers. Made at submit, where it finds what is wrong, and again in the job.
//
// Plain values; the plan points into the job and the spec, which must outlive it.
#ifndef EDITD_PLUGINS_MERGE_PLAN_H_
#define EDITD_PLUGINS_MERGE_PLAN_H_

#include <memory>
#include <string>
#include <vector>

#include "plugins/merge/layout.h"
#include "plugins/merge/slices.h"
#include "plugins/merge/tensor_merge.h"
#include "plugins/merge/vocabulary.h"

namespace editd::merge {

struct PlannedTensor {
  const Row* row = nullptr;
  const Tensor* reused = nullptr;                   // The result is this.
  std::vector<Take> takes;                          // Else what it is computed from, the base apart.
  bool differs = false;                             // From the row's base.
  std::vector<std::unique_ptr<RowGather>> gathers;  // That `plan` points to.
  TensorPlan plan;                                  // Else it is computed so.
};

struct MergePlan {
  std::unique_ptr<const Expansion> expansion;  // The spec, its structure written out.
  Layout layout;
  std::vector<std::unique_ptr<PlannedTensor>> tensors;
  Scope top;
};

// Where `findings` is not empty afterwards, the plan is not to be carried out. `vocabulary` is null while a spec is
// checked and where none is asked for; it must outlive the plan.
MergePlan MakePlan(const v1::MergeSpec& spec, const Job& job, const Vocabulary* vocabulary, Findings* findings);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_PLAN_H_
