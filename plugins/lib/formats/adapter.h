// LoRA adapters as PEFT saves them: adapter_config.json and the tensors of adapter_model.safetensors.
//
// What the configuration says is read strictly. A key that changes what the adapter computes and that we do not follow
// is refused by its name, and so is a key that we have never heard of, unless its value says "not used": a silent guess
// would make another model. Keys that only tell how training began or went (init_lora_weights, lora_dropout, ...) are
// let by. What the tensors' names and shapes say is put in order by LayOutAdapter, which needs no bytes, so that a job
// can be checked before it runs.
//
// Plain values and functions; no locking.
#ifndef EDITD_PLUGINS_LIB_FORMATS_ADAPTER_H_
#define EDITD_PLUGINS_LIB_FORMATS_ADAPTER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/formats/json.h"

namespace editd::formats {

inline constexpr std::string_view kAdapterConfig = "adapter_config.json";
inline constexpr std::string_view kAdapterWeights = "adapter_model.safetensors";

// The part of adapter_config.json that says what the adapter computes.
struct AdapterConfig {
  std::string base_model;  // base_model_name_or_path; may be empty.
  double rank = 8;
  double alpha = 8;
  // Module patterns with a rank or an alpha of their own, in the file's order; the first that matches counts.
  std::vector<std::pair<std::string, double>> rank_pattern, alpha_pattern;
  bool rslora = false;          // The scale is alpha / sqrt(rank), not alpha / rank.
  bool dora = false;            // Rows get a length of their own.
  bool fan_in_fan_out = false;  // The base's matrices are stored as inputs x outputs.
  std::string bias = "none";    // "none", "all", "lora_only"
  // Rows of embeddings that were trained themselves: module suffix to token ids, in the order of the tensor's rows.
  // The suffix is empty where the file gives a list alone: the input embedding.
  std::vector<std::pair<std::string, std::vector<int64_t>>> token_indices;
};

// INVALID_ARGUMENT lists all that is wrong or not followed; `name` is the file's, for messages.
absl::StatusOr<AdapterConfig> ReadAdapterConfig(std::string_view json, std::string_view name);

// A module's rank and alpha by the patterns, and the factor that its change is multiplied by. `module` is its path in
// the base model ("model.layers.0.self_attn.q_proj").
struct ModuleScale {
  double rank, alpha, scale;
};
ModuleScale ScaleOf(const AdapterConfig& config, std::string_view module);

// The token ids of a module's trained rows; null if the configuration names none.
const std::vector<int64_t>* TokenIdsOf(const AdapterConfig& config, std::string_view module);

// --- tensors
// -----------------------------------------------------------------------------------------------------------

struct AdapterTensor {
  std::string_view name;
  std::vector<int64_t> shape;
};

// A module with a low-rank change. Indices are into the list of tensors.
struct LoraModule {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  bool embedding = false;
  size_t a = 0, b = 0;     // rank x inputs, outputs x rank. Of an embedding: rank x tokens, width x rank.
  int64_t magnitude = -1;  // DoRA's lengths: outputs (an embedding: width); -1 if it has none.
  int64_t rank = 0, inputs = 0, outputs = 0;
};

// A tensor of the base that the adapter brings in full.
struct SavedTensor {
  std::string target;  // "lm_head.weight"
  size_t tensor = 0;
  bool beside = false;  // Named as the layer beneath a low-rank change: as a rule a copy of the base's tensor.
};

// Rows of an embedding.
struct SavedRows {
  std::string module;  // "model.embed_tokens"
  size_t tensor = 0;   // rows x width
};

struct AdapterLayout {
  std::vector<LoraModule> modules;  // By module.
  std::vector<SavedTensor> saved;   // By target.
  std::vector<SavedRows> rows;
};

// What each tensor is for. Problems are added to `problems`, a sentence each.
AdapterLayout LayOutAdapter(const std::vector<AdapterTensor>& tensors, std::vector<std::string>* problems);

// The tensor's name as PEFT writes it today: without the name of the adapter ("lora_A.default.weight").
std::string CanonicalAdapterTensorName(std::string_view name);

// The tensor's name in a file of PEFT's.
std::string AdapterTensorName(std::string_view module, std::string_view part);

// Problems between configuration and tensors: ranks that differ, DoRA without lengths, token ids that do not fit.
void CheckAdapterConfig(const AdapterConfig& config, const std::vector<AdapterTensor>& tensors,
                        const AdapterLayout& layout, std::vector<std::string>* problems);

// What a version that is an adapter says of itself, as attributes: kind, adapter.rank, adapter.targets, ...
std::map<std::string, std::string> DescribeAdapter(const AdapterConfig& config, const AdapterLayout& layout);

// adapter_config.json with the keys that all releases of PEFT since 0.7 read. Patterns are written with their keys'
// dots escaped; `targets` and `saved` are module names.
struct AdapterConfigText {
  std::string base_model;
  int64_t rank = 0;
  double alpha = 0;
  std::vector<std::pair<std::string, int64_t>> rank_pattern;  // Module path to rank; its alpha is the same.
  std::vector<std::string> targets, saved;
  std::string bias = "none";
  bool fan_in_fan_out = false;
};
std::string WriteAdapterConfig(const AdapterConfigText& text);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_ADAPTER_H_
