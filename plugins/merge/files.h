// The files of a merged version: the donor's, with config.json brought into line, and editd_merge.json, which says of
// each tensor which inputs made it.
//
// editd_merge.json:
//   {"format": 1, "method": "ties", "inputs": [{"name": "base", "version": "<64 hex>"}, ...],
//    "tensors": {"model.norm.weight": {"base": [0, "model.norm.weight"], "from": [[1, "model.norm.weight"], ...],
//                                      "weights": [0.5, ...]}}}
// A pair is an input's place in `inputs` and its tensor. `base`: differences were taken from it. `weights` is there if
// the method has weights. A tensor that is an input's, as it is, has only "same": a pair.
//
// Functions of their arguments.
#ifndef EDITD_PLUGINS_MERGE_FILES_H_
#define EDITD_PLUGINS_MERGE_FILES_H_

#include <string>

#include "plugins/merge/plan.h"

namespace editd::merge {

inline constexpr char kRecordFile[] = "editd_merge.json";

std::string Record(const Job& job, const MergePlan& plan);

// `vocabulary` as MakePlan had it.
absl::Status WriteFiles(const MergePlan& plan, const Vocabulary* vocabulary, Job* job);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_FILES_H_
