// What an exported folder will hold: decided from the version alone, before anything is written.
#ifndef EDITD_PLUGINS_EXPORT_FOLDER_H_
#define EDITD_PLUGINS_EXPORT_FOLDER_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "editd/plugin.hpp"
#include "plugins/lib/formats/safetensors.h"

namespace editd::exporter {

// One safetensors file.
struct Shard {
  std::string name;
  std::string head;                                // Its bytes before the tensors'.
  std::vector<formats::SafetensorsEntry> entries;  // In the file's order.
};

struct Folder {
  std::vector<std::pair<std::string, std::string>> files;  // All but the weights.
  std::vector<Shard> shards;
  uint64_t weight_bytes = 0;
  std::vector<std::string> remarks;
};

// True for a version that is no model, but a LoRA adapter: it becomes a folder of PEFT's.
bool IsAdapter(const Model& model);

// FAILED_PRECONDITION if the version contradicts itself: a configuration for another number of tokens, a head that is
// said to be the embedding and is not.
absl::StatusOr<Folder> PlanFolder(const Model& model, uint64_t max_shard_bytes);

}  // namespace editd::exporter

#endif  // EDITD_PLUGINS_EXPORT_FOLDER_H_
