// What config.json says about a decoder, checked against what this library computes.
//
// One decoder serves LlamaForCausalLM (SmolLM2, Llama 2 and 3), MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM,
// Gemma2ForCausalLM and Gemma3ForCausalLM, and the language part of Gemma3ForConditionalGeneration. What sets them
// apart stands here: biases, norms, what each layer attends to, rotations, scales and caps. Keys that a file leaves out
// have the defaults of the family's configuration class in transformers. Both spellings are read: transformers 4
// (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters, dtype). A setting that would change the result and
// that is not computed here is refused by its name.
#ifndef EDITD_PLUGINS_LIB_NN_CONFIG_H_
#define EDITD_PLUGINS_LIB_NN_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/nn/rope.h"

namespace editd::nn {

enum class Activation { kSilu, kGeluTanh };

// What one layer's positions attend to.
struct LayerAttention {
  int64_t window = 0;  // Position i sees (i - window, i]; 0: all up to i.
  int rope = 0;        // Index into DecoderConfig::ropes.
};

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
  bool qk_norm = false;        // RMSNorm over each head of queries and keys, before rope.
  bool norm_offset = false;    // Norms multiply by 1 + weight.
  bool output_norms = false;   // What attention and MLP give is normed before it joins the residual stream.
  bool language_part = false;  // Of a model that also sees: tensors have a longer prefix.
  Activation activation = Activation::kSilu;
  double query_scale = 0;      // Scores are multiplied with it.
  double embedding_scale = 1;  // Embedding rows are; rounded to the compute type, as the models were trained.
  double attention_cap = 0;    // Scores become cap * tanh(score / cap); 0: no cap.
  double logit_cap = 0;        // The same for logits.
  std::vector<Rope> ropes;
  std::vector<LayerAttention> attention;  // Of each layer.
  std::vector<int64_t> eos_token_ids;
  int64_t bos_token_id = -1;
};

// INVALID_ARGUMENT if the text is no usable config; UNIMPLEMENTED names a setting that is not computed here.
absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_CONFIG_H_
