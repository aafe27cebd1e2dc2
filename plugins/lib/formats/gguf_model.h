// A GGUF file as a Hugging Face checkpoint: which tensor is which, and config.json.
//
// llama.cpp renames tensors, turns hyperparameters into keys, reorders the rows of the query and key projections for
// the architecture "llama" and adds 1 to the norms of the Gemmas. All of this is undone here, on paper: the result says
// for each tensor of the checkpoint which rows of which tensor of the file it is, and what is to be taken off. What is
// not understood is refused by name: a tensor that has no place, a scaling of positions that no configuration
// expresses, another architecture.
//
// Sources: gguf-py's constants and tensor names, convert_hf_to_gguf.py for what was done to each architecture,
// transformers' configuration classes for the names in config.json.
#ifndef EDITD_PLUGINS_LIB_FORMATS_GGUF_MODEL_H_
#define EDITD_PLUGINS_LIB_FORMATS_GGUF_MODEL_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/formats/gguf.h"
#include "plugins/lib/formats/json.h"

namespace editd::formats {

// A tensor of the checkpoint and where it comes from.
struct GgufSource {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
  const GgufTensor* tensor = nullptr;
  int64_t heads = 0;  // Not 0: the file has the rows of each of so many heads in llama.cpp's order.
  float surplus = 0;  // What the file's values have too much.

  // The tensor as rows of consecutive elements; a vector is one row, unless its elements are reordered.
  int64_t Rows() const;
  int64_t Width() const;
  // The row of the file's tensor that is row `row` here.
  int64_t SourceRow(int64_t row) const;
};

struct GgufModel {
  std::string architecture;  // "LlamaForCausalLM"
  Json config;               // Without an element type and token ids.
  std::vector<GgufSource> tensors;
  bool tied = false;  // No head of its own.
  int64_t rows = 0;   // Of the embedding.
};

// `gguf` must outlive the result. `name` is for messages.
absl::StatusOr<GgufModel> ConvertGgufModel(const GgufFile& gguf, std::string_view name);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_GGUF_MODEL_H_
