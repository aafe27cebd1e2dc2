// A Hugging Face folder: config.json, safetensors (one file, or shards with an index) and the tokenizer's files.
//
// The caller has the folder as names and mapped bytes; nothing is opened here. Weights in pickle files are refused:
// reading them means running them.
//
// Plain values and functions; no locking.
#ifndef EDITD_PLUGINS_LIB_FORMATS_CHECKPOINT_H_
#define EDITD_PLUGINS_LIB_FORMATS_CHECKPOINT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/formats/json.h"
#include "storage/base/dtype.h"

namespace editd::formats {

struct NamedBytes {
  std::string_view name;
  std::string_view bytes;
};

struct CheckpointTensor {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  std::string_view bytes;
};

struct Checkpoint {
  std::string architecture;  // Empty if config.json names none.
  Json config;
  std::vector<CheckpointTensor> tensors;  // By file, then by place in it.
  std::vector<NamedBytes> files;          // Those that belong to a version, config.json included.
  bool tied = false;                      // No head of its own, or one that config.json says is the embedding.
  std::vector<std::string> remarks;
};

// The views of `folder` must outlive the result. `name` is the folder's, for messages.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::vector<NamedBytes>& folder, std::string_view name);

// The name of the tensor with a row for each token, of all models that we know.
inline constexpr std::string_view kEmbedding = "model.embed_tokens.weight";
inline constexpr std::string_view kHead = "lm_head.weight";

// How many ids a tokenizer.json gives a token: in the model's vocabulary and in the added tokens.
absl::StatusOr<int64_t> CountTokenIds(std::string_view tokenizer_json, std::string_view name);

// config.json with the element type set where the file has it ("dtype" or "torch_dtype"), or as "dtype".
void SetConfigDType(DType dtype, Json* config);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_CHECKPOINT_H_
