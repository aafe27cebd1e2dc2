// Adapters into a model: which tensors change by what, decided from names and shapes alone, then computed.
//
// Not thread-safe; one merge a job.
#ifndef EDITD_PLUGINS_ADAPTER_MERGE_H_
#define EDITD_PLUGINS_ADAPTER_MERGE_H_

#include <map>
#include <string>
#include <vector>

#include "editd/plugins/adapter/v1/adapter.pb.h"
#include "plugins/adapter/change.h"
#include "plugins/adapter/combination.h"

namespace editd::adapter {

// The inputs by their roles.
struct MergeInputs {
  const Model* base = nullptr;
  const Model* trained_on = nullptr;  // May be null.
  std::vector<Adapter> adapters;
};

// What happens to one tensor of the result.
struct ChangedTensor {
  const Tensor* source =
      nullptr;  // The base's tensor that changes; of a head of its own that a tied model gets, the embedding.
  std::vector<Change> changes;
};
struct MergePlan {
  std::map<std::string, ChangedTensor> changed;  // By the name in the result.
  bool tied = false;                             // The base's head is its embedding.
};

// Finds each change's tensor and compares shapes. Problems go to `problems`.
MergePlan PlanMerge(const v1::Merge& spec, const MergeInputs& inputs, std::vector<std::string>* problems);

// Memory for the tiles, beyond mapped inputs.
uint64_t MergeMemory(const MergeInputs& inputs, const MergePlan& plan, unsigned threads);

// Makes the version: tensors, files, attributes.
absl::Status RunMerge(const v1::Merge& spec, const MergeInputs& inputs, MergePlan plan, Job& job,
                      v1::AdapterResult* result);

// True for the base's linear layers that an `onto` with NF4 rounds.
bool Quantised(const v1::Merge& spec, const Tensor& tensor);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_MERGE_H_
