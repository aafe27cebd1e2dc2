#include "plugins/export/folder.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "plugins/lib/formats/adapter.h"
#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/convert.h"
#include "plugins/lib/formats/json.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::exporter {
namespace {

using formats::Json;
using formats::SafetensorsEntry;

class Planner {
 public:
  Planner(const Model& model, uint64_t max_shard_bytes) : model_(model), max_shard_bytes_(max_shard_bytes) {}

  absl::StatusOr<Folder> Plan() {
    RETURN_IF_ERROR(ReadTensors());
    if (IsAdapter(model_)) return PlanAdapter();
    RETURN_IF_ERROR(PlanConfig());
    for (const File& file : model_.files) {
      // Files of ours ("editd_id_map.i32") mean nothing to others.
      if (file.name == "config.json" || file.name.starts_with("editd_")) continue;
      folder_.files.emplace_back(std::string(file.name), std::string(file.content));
    }
    PlanShards();
    return std::move(folder_);
  }

 private:
  template <typename... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::FailedPreconditionError(StrCat("\"", model_.name, "\": ", pieces...));
  }
  absl::Status ReadTensors();
  absl::StatusOr<Folder> PlanAdapter();
  absl::Status PlanConfig();
  absl::Status PlanHead(Json* config);
  DType MainDType() const;
  void PlanShards();

  const Model& model_;
  const uint64_t max_shard_bytes_;
  std::vector<SafetensorsEntry> entries_;
  Folder folder_;
};

absl::Status Planner::ReadTensors() {
  for (const Tensor& tensor : model_.tensors) {
    const std::optional<DType> dtype = DTypeFromName(tensor.dtype);
    if (!dtype) return Error("tensor \"", tensor.name, "\" has element type \"", tensor.dtype, "\"");
    entries_.push_back({std::string(tensor.name), *dtype, {tensor.shape.begin(), tensor.shape.end()}, 0, tensor.size});
  }
  return absl::OkStatus();
}

// As PEFT's save_pretrained writes it: the configuration byte for byte, all tensors in one file.
absl::StatusOr<Folder> Planner::PlanAdapter() {
  if (model_.FindFile(formats::kAdapterConfig) == nullptr) {
    return Error("has no ", formats::kAdapterConfig, ", so PEFT could not open it");
  }
  for (const File& file : model_.files) folder_.files.emplace_back(std::string(file.name), std::string(file.content));
  Shard shard;
  shard.name = formats::kAdapterWeights;
  for (const SafetensorsEntry& entry : entries_) folder_.weight_bytes += entry.size;
  shard.entries = std::move(entries_);
  shard.head = formats::LayOutSafetensors(&shard.entries, {{"format", "pt"}});
  folder_.shards.push_back(std::move(shard));
  return std::move(folder_);
}

DType Planner::MainDType() const {
  std::array<uint64_t, std::size(kDTypes)> bytes = {};
  for (const SafetensorsEntry& entry : entries_) {
    if (entry.shape.size() >= 2 && formats::Convertible(entry.dtype))
      bytes[static_cast<size_t>(entry.dtype)] += entry.size;
  }
  const auto most = std::max_element(bytes.begin(), bytes.end());
  return *most == 0 ? DType::kF32 : static_cast<DType>(most - bytes.begin());
}

// A tied head is left out: readers take the embedding.
absl::Status Planner::PlanHead(Json* config) {
  const Tensor* embedding = model_.FindTensor(formats::kEmbedding);
  const Tensor* head = model_.FindTensor(formats::kHead);
  if (embedding == nullptr) return absl::OkStatus();
  const auto it = config->find("tie_word_embeddings");
  const bool told = it != config->end() && it->is_boolean();
  if (head == nullptr) {
    if (told && !it->get<bool>()) {
      folder_.remarks.push_back("config.json said tie_word_embeddings false, but there is no head; it now says true");
      *it = true;
    }
    return absl::OkStatus();
  }
  if (!told || !it->get<bool>()) return absl::OkStatus();
  if (head->bytes() != embedding->bytes()) {
    return Error("config.json says tie_word_embeddings, but \"", formats::kHead, "\" differs from \"",
                 formats::kEmbedding, "\"; readers would lose the head");
  }
  std::erase_if(entries_, [](const SafetensorsEntry& entry) { return entry.name == formats::kHead; });
  return absl::OkStatus();
}

absl::Status Planner::PlanConfig() {
  const File* file = model_.FindFile("config.json");
  if (file == nullptr) return Error("has no config.json, so no other program could open it");
  ASSIGN_OR_RETURN(Json config, formats::ParseJson(file->content, "config.json"));
  if (!config.is_object()) return Error("config.json is no JSON object");
  const Json before = config;
  const Tensor* embedding = model_.FindTensor(formats::kEmbedding);
  const auto size = config.find("vocab_size");
  if (embedding != nullptr && !embedding->shape.empty() && size != config.end() && *size != embedding->shape[0]) {
    return Error("config.json says vocab_size ", size->dump(), ", the embedding has ", embedding->shape[0], " rows");
  }
  RETURN_IF_ERROR(PlanHead(&config));
  formats::SetConfigDType(MainDType(), &config);
  folder_.files.emplace_back("config.json", config == before ? std::string(file->content) : formats::DumpJson(config));
  return absl::OkStatus();
}

void Planner::PlanShards() {
  std::vector<std::vector<SafetensorsEntry>> groups(1);
  uint64_t bytes = 0;
  for (SafetensorsEntry& entry : entries_) {
    if (bytes > 0 && (entry.size > max_shard_bytes_ || bytes > max_shard_bytes_ - entry.size)) {
      groups.emplace_back();
      bytes = 0;
    }
    bytes += entry.size;
    folder_.weight_bytes += entry.size;
    groups.back().push_back(std::move(entry));
  }
  std::map<std::string, std::string> shard_of;
  for (size_t i = 0; i < groups.size(); ++i) {
    Shard shard;
    shard.name = "model.safetensors";
    if (groups.size() > 1) {
      char name[64];
      std::snprintf(name, sizeof(name), "model-%05zu-of-%05zu.safetensors", i + 1, groups.size());
      shard.name = name;
    }
    shard.entries = std::move(groups[i]);
    shard.head = formats::LayOutSafetensors(&shard.entries, {{"format", "pt"}});
    for (const SafetensorsEntry& entry : shard.entries) shard_of[entry.name] = shard.name;
    folder_.shards.push_back(std::move(shard));
  }
  if (groups.size() == 1) return;
  Json index;
  index["metadata"]["total_size"] = folder_.weight_bytes;
  index["weight_map"] = shard_of;
  folder_.files.emplace_back("model.safetensors.index.json", formats::DumpJson(index));
}

}  // namespace

bool IsAdapter(const Model& model) { return model.Attribute("kind") == "adapter"; }

absl::StatusOr<Folder> PlanFolder(const Model& model, uint64_t max_shard_bytes) {
  return Planner(model, max_shard_bytes).Plan();
}

}  // namespace editd::exporter
