// What config.json says about a decoder, checked against what this library computes.
//
// Covers LlamaForCausalLM (SmolLM2, Llama 2 and 3), MistralForCausalLM without a window, Qwen2ForCausalLM and
// Qwen3ForCausalLM: they differ in biases, in norms on queries and keys, and in where rope's base stands. Both
// spellings are read: transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters, dtype). A setting
// that would change the result and that is not computed here is refused by its name; none is ignored.
#ifndef EDITD_PLUGINS_LIB_NN_CONFIG_H_
#define EDITD_PLUGINS_LIB_NN_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace editd::nn {

struct DecoderConfig {
  std::string architecture;  // "LlamaForCausalLM"
  int64_t vocab_size = 0;    // Rows of the embedding.
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  bool tied = false;  // The head is the embedding.
  bool qkv_bias = false;
  bool output_bias = false;  // Of the attention's output projection.
  bool mlp_bias = false;
  bool qk_norm = false;                // RMSNorm over each head of queries and keys, before rope.
  std::vector<float> inv_frequencies;  // head_dim / 2 of them, scaled as the config says.
  std::vector<int64_t> eos_token_ids;
  int64_t bos_token_id = -1;
};

// INVALID_ARGUMENT if the text is no usable config; UNIMPLEMENTED names a setting that is not computed here.
absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_CONFIG_H_
