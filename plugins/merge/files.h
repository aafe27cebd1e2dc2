// The files of a merged version: the donor's, with config.json brought into line, and editd_merge.json, which says of
// each tensor which inputs made it.
//
// editd_merge.json: {"format": 1, "method": "ties", "base": 0, "inputs": [{"name": "base", "version": "<64 hex>"},
// ...], "tensors": {"model.norm.weight": {"from": [[1, "model.norm.weight"], [2, ...]], "weights": [0.5, 0.5]}}}.
// `from` lists inputs by their place in `inputs`; `base` stands for all tensors that were computed from differences; a
// tensor that is an input's, as it is, has "same": [place, name] instead.
//
// Functions of their arguments.
#ifndef EDITD_PLUGINS_MERGE_FILES_H_
#define EDITD_PLUGINS_MERGE_FILES_H_

#include <string>

#include "plugins/merge/plan.h"

namespace editd::merge {

inline constexpr char kRecordFile[] = "editd_merge.json";

std::string Record(const v1::MergeSpec& spec, const Job& job, const MergePlan& plan);

absl::Status WriteFiles(const v1::MergeSpec& spec, const MergePlan& plan, Job* job);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_FILES_H_
