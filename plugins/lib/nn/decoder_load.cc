// The decoder's weights, by the names that Hugging Face gives them.
#include <utility>

#include "plugins/lib/nn/decoder.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

absl::Status ReadVector(const WeightSource& weights, const std::string& name, int64_t size, std::vector<float>* out) {
  ASSIGN_OR_RETURN(const TensorView tensor, RequireTensor(weights, name, {size}));
  *out = ReadAllFloats(tensor);
  return absl::OkStatus();
}

// Several vectors, one after the other.
absl::Status ReadVectors(const WeightSource& weights, const std::vector<std::pair<std::string, int64_t>>& parts,
                         std::vector<float>* out) {
  for (const auto& [name, size] : parts) {
    std::vector<float> part;
    RETURN_IF_ERROR(ReadVector(weights, name, size, &part));
    out->insert(out->end(), part.begin(), part.end());
  }
  return absl::OkStatus();
}

// A tensor that the config does not speak of would change the result: it is none to overlook.
absl::Status RefuseExtra(const WeightSource& weights, const std::string& name, std::string_view kind) {
  if (!weights.find(name).has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat("the model has a tensor \"", name, "\", and its config.json has no such ", kind));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> Decoder::Load(const DecoderConfig& config, const WeightSource& weights,
                                                       const DecoderOptions& options) {
  std::unique_ptr<Decoder> decoder(new Decoder(config, options));
  if (decoder->options_.gemm == nullptr) decoder->options_.gemm = PortableBlockGemm(options.compute);
  RETURN_IF_ERROR(decoder->ReadWeights(weights));
  return decoder;
}

absl::Status Decoder::MoveTo(std::unique_ptr<Device> device) {
  RETURN_IF_ERROR(device->Load(*this));
  device_ = std::move(device);
  return absl::OkStatus();
}

absl::Status Decoder::ReadWeights(const WeightSource& weights) {
  // bf16 models were trained with the scale rounded, too.
  embedding_scale_ = static_cast<float>(config_.embedding_scale);
  if (options_.compute == Compute::kBF16) embedding_scale_ = BFloat16ToFloat(FloatToBFloat16(embedding_scale_));
  std::string prefix = "model.", head = "lm_head.weight";
  if (config_.language_part) {
    prefix = "model.language_model.";
    if (!weights.find(prefix + "embed_tokens.weight").has_value()) {
      prefix = "language_model.model.", head = "language_model.lm_head.weight";
    }
  }
  const std::vector<int64_t> table = {config_.vocab_size, config_.hidden_size};
  ASSIGN_OR_RETURN(embedding_, RequireTensor(weights, prefix + "embed_tokens.weight", table));
  TensorView head_view = embedding_;
  if (!config_.tied) {
    ASSIGN_OR_RETURN(head_view, RequireTensor(weights, head, table));
  }
  head_ = WeightMatrix({head_view});
  RETURN_IF_ERROR(RefuseExtra(weights, "lm_head.bias", "bias"));
  RETURN_IF_ERROR(ReadNorm(weights, prefix + "norm.weight", config_.hidden_size, &final_norm_));
  if (weights.find(StrCat(prefix, "layers.", config_.layers, ".input_layernorm.weight")).has_value()) {
    return absl::InvalidArgumentError(
        StrCat("config.json: \"num_hidden_layers\" is ", config_.layers, ", and the model has more layers"));
  }
  layers_.resize(config_.layers);
  for (int64_t i = 0; i < config_.layers; ++i) {
    RETURN_IF_ERROR(ReadLayer(weights, StrCat(prefix, "layers.", i, "."), &layers_[i]));
  }
  return absl::OkStatus();
}

absl::Status Decoder::ReadNorm(const WeightSource& weights, const std::string& name, int64_t size,
                               std::vector<float>* out) const {
  RETURN_IF_ERROR(ReadVector(weights, name, size, out));
  if (config_.norm_offset) {
    for (float& weight : *out) weight += 1;
  }
  return absl::OkStatus();
}

absl::Status Decoder::ReadLayer(const WeightSource& weights, const std::string& prefix, DecoderLayer* layer) {
  const std::string attention = prefix + "self_attn.", mlp = prefix + "mlp.";
  const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
  const int64_t queries = config_.heads * config_.head_dim, keys = config_.kv_heads * config_.head_dim;

  // Matrices of one width, one below the other.
  const auto find = [&](const std::vector<std::pair<std::string, int64_t>>& parts, int64_t width,
                        WeightMatrix* out) -> absl::Status {
    std::vector<TensorView> views;
    for (const auto& [name, rows] : parts) {
      views.emplace_back();
      ASSIGN_OR_RETURN(views.back(), RequireTensor(weights, name, {rows, width}));
    }
    *out = WeightMatrix(std::move(views));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(find({{attention + "q_proj.weight", queries},
                        {attention + "k_proj.weight", keys},
                        {attention + "v_proj.weight", keys}},
                       hidden, &layer->qkv));
  RETURN_IF_ERROR(find({{attention + "o_proj.weight", hidden}}, queries, &layer->output));
  RETURN_IF_ERROR(find({{mlp + "gate_proj.weight", inner}}, hidden, &layer->gate));
  RETURN_IF_ERROR(find({{mlp + "up_proj.weight", inner}}, hidden, &layer->up));
  RETURN_IF_ERROR(find({{mlp + "down_proj.weight", hidden}}, inner, &layer->down));

  RETURN_IF_ERROR(ReadNorm(weights, prefix + "input_layernorm.weight", hidden, &layer->input_norm));
  if (config_.output_norms) {
    RETURN_IF_ERROR(ReadNorm(weights, prefix + "post_attention_layernorm.weight", hidden, &layer->attended_norm));
    RETURN_IF_ERROR(ReadNorm(weights, prefix + "pre_feedforward_layernorm.weight", hidden, &layer->mlp_norm));
    RETURN_IF_ERROR(ReadNorm(weights, prefix + "post_feedforward_layernorm.weight", hidden, &layer->mlp_out_norm));
  } else {
    RETURN_IF_ERROR(ReadNorm(weights, prefix + "post_attention_layernorm.weight", hidden, &layer->mlp_norm));
  }
  if (config_.qk_norm) {
    RETURN_IF_ERROR(ReadNorm(weights, attention + "q_norm.weight", config_.head_dim, &layer->query_norm));
    RETURN_IF_ERROR(ReadNorm(weights, attention + "k_norm.weight", config_.head_dim, &layer->key_norm));
  } else {
    RETURN_IF_ERROR(RefuseExtra(weights, attention + "q_norm.weight", "norm"));
    RETURN_IF_ERROR(RefuseExtra(weights, attention + "k_norm.weight", "norm"));
  }
  const auto bias = [&](bool wanted, const std::vector<std::pair<std::string, int64_t>>& parts,
                        std::vector<float>* out) -> absl::Status {
    if (wanted) return ReadVectors(weights, parts, out);
    for (const auto& [name, size] : parts) RETURN_IF_ERROR(RefuseExtra(weights, name, "bias"));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(
      bias(config_.qkv_bias,
           {{attention + "q_proj.bias", queries}, {attention + "k_proj.bias", keys}, {attention + "v_proj.bias", keys}},
           &layer->qkv_bias));
  RETURN_IF_ERROR(bias(config_.output_bias, {{attention + "o_proj.bias", hidden}}, &layer->output_bias));
  RETURN_IF_ERROR(bias(config_.mlp_bias, {{mlp + "gate_proj.bias", inner}}, &layer->gate_bias));
  RETURN_IF_ERROR(bias(config_.mlp_bias, {{mlp + "up_proj.bias", inner}}, &layer->up_bias));
  return bias(config_.mlp_bias, {{mlp + "down_proj.bias", hidden}}, &layer->down_bias);
}

}  // namespace editd::nn
