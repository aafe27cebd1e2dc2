#include "plugins/lib/nn/config.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLargest = int64_t{1} << 31;  // No size in a config is larger.

absl::Status Unusable(std::string_view key, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("config.json: \"", key, "\" ", what));
}

absl::Status NotComputed(std::string_view key, const Json& value) {
  // A file may nest deeper than a printer's recursion goes.
  const std::string text =
      value.is_structured() ? value.type_name() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return absl::UnimplementedError(
      StrCat("config.json: \"", key, "\": ", text, " is not computed; only models without it can be evaluated"));
}

// The value at `key`, or null where it is absent or null.
const Json& At(const Json& object, const char* key) {
  static const Json kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

absl::StatusOr<int64_t> Size(const Json& config, const char* key, std::optional<int64_t> otherwise = std::nullopt) {
  const Json& value = At(config, key);
  if (value.is_null() && otherwise.has_value()) return *otherwise;
  if (value.is_null()) return Unusable(key, "is missing");
  if (!value.is_number_integer()) return Unusable(key, "is not a whole number");
  const int64_t number = value.get<int64_t>();
  if (number <= 0 || number > kLargest) return Unusable(key, StrCat("is ", number, ", which no model has"));
  return number;
}

absl::StatusOr<double> Real(const Json& config, const char* key, std::optional<double> otherwise = std::nullopt) {
  const Json& value = At(config, key);
  if (value.is_null() && otherwise.has_value()) return *otherwise;
  if (value.is_null()) return Unusable(key, "is missing");
  if (!value.is_number()) return Unusable(key, "is not a number");
  const double number = value.get<double>();
  if (!(number > 0) || !std::isfinite(number)) return Unusable(key, "is not a positive number");
  return number;
}

absl::StatusOr<bool> Flag(const Json& config, const char* key, bool otherwise) {
  const Json& value = At(config, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) return Unusable(key, "is neither true nor false");
  return value.get<bool>();
}

// The frequencies of head_dim / 2 rotations. Computed in float32 where transformers does.
absl::StatusOr<std::vector<float>> Frequencies(const Json& config, int64_t head_dim) {
  const Json& parameters = At(config, "rope_parameters");
  const Json& scaling = parameters.is_null() ? At(config, "rope_scaling") : parameters;
  const char* const key = parameters.is_null() ? "rope_scaling" : "rope_parameters";
  if (!scaling.is_null() && !scaling.is_object()) return Unusable(key, "is not an object");
  std::string type = "default";
  double theta = 10000.0;
  ASSIGN_OR_RETURN(theta, Real(config, "rope_theta", theta));
  if (scaling.is_object()) {
    ASSIGN_OR_RETURN(theta, Real(scaling, "rope_theta", theta));
    const Json& named = At(scaling, "rope_type").is_null() ? At(scaling, "type") : At(scaling, "rope_type");
    if (!named.is_null() && !named.is_string()) return Unusable(key, "has a rope_type that is not a string");
    if (named.is_string()) type = named.get<std::string>();
    const Json& part = At(scaling, "partial_rotary_factor");
    if (!part.is_null() && part != 1.0) return NotComputed("partial_rotary_factor", part);
    // A table of tables, one for each kind of layer.
    for (const auto& [name, value] : scaling.items()) {
      if (value.is_object()) return NotComputed(key, scaling);
    }
  }
  if (type != "default" && type != "linear" && type != "llama3") return NotComputed(StrCat(key, ".rope_type"), type);

  std::vector<float> frequencies(head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    frequencies[i] = 1.0f / std::pow(static_cast<float>(theta), exponent);
  }
  if (type == "default") return frequencies;

  ASSIGN_OR_RETURN(const double factor, Real(scaling, "factor"));
  if (type == "linear") {
    for (float& f : frequencies) f /= static_cast<float>(factor);
    return frequencies;
  }
  // Llama 3: long waves are stretched by `factor`, short ones stay, and between the two bounds they blend.
  ASSIGN_OR_RETURN(const double low, Real(scaling, "low_freq_factor"));
  ASSIGN_OR_RETURN(const double high, Real(scaling, "high_freq_factor"));
  ASSIGN_OR_RETURN(const double original, Real(scaling, "original_max_position_embeddings"));
  if (high <= low) return Unusable("high_freq_factor", "is not above low_freq_factor");
  for (float& f : frequencies) {
    const float wave = 2.0f * std::numbers::pi_v<float> / f;
    if (wave > static_cast<float>(original / low)) {
      f /= static_cast<float>(factor);
    } else if (wave >= static_cast<float>(original / high)) {
      const float smooth =
          (static_cast<float>(original) / wave - static_cast<float>(low)) / static_cast<float>(high - low);
      f = (1.0f - smooth) * f / static_cast<float>(factor) + smooth * f;
    }
  }
  return frequencies;
}

// Settings of other models that share these config files.
absl::Status RefuseWhatIsNotComputed(const Json& config, const DecoderConfig& parsed) {
  const Json& act = At(config, "hidden_act");
  if (!act.is_null() && act != "silu" && act != "swish") return NotComputed("hidden_act", act);
  const bool qwen = parsed.architecture != "LlamaForCausalLM" && parsed.architecture != "MistralForCausalLM";
  const Json& window = At(config, "sliding_window");
  const bool windowed = qwen ? At(config, "use_sliding_window") == true : !window.is_null();
  if (windowed && !window.is_null()) {
    return NotComputed("sliding_window", window);
  }
  const Json& kinds = At(config, "layer_types");
  if (kinds.is_array()) {
    for (const Json& kind : kinds) {
      if (kind != "full_attention") return NotComputed("layer_types", kind);
    }
  }
  const Json& part = At(config, "partial_rotary_factor");
  if (!part.is_null() && part != 1.0) return NotComputed("partial_rotary_factor", part);
  for (const char* key : {"quantization_config", "attn_logit_softcapping", "final_logit_softcapping",
                          "num_local_experts", "num_experts", "logits_scaling", "logit_scale", "embedding_multiplier",
                          "residual_multiplier", "attention_multiplier", "query_pre_attn_scalar", "no_rope_layers"}) {
    if (!At(config, key).is_null()) return NotComputed(key, At(config, key));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json) {
  const Json config = Json::parse(config_json, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return absl::InvalidArgumentError("config.json: not a JSON object");
  DecoderConfig out;
  const Json& names = At(config, "architectures");
  if (!names.is_array() || names.size() != 1 || !names[0].is_string()) {
    return Unusable("architectures", "does not name one architecture");
  }
  out.architecture = names[0].get<std::string>();
  const bool qwen2 = out.architecture == "Qwen2ForCausalLM";
  const bool qwen3 = out.architecture == "Qwen3ForCausalLM";
  if (!qwen2 && !qwen3 && out.architecture != "LlamaForCausalLM" && out.architecture != "MistralForCausalLM") {
    return NotComputed("architectures", names[0]);
  }
  ASSIGN_OR_RETURN(out.vocab_size, Size(config, "vocab_size"));
  ASSIGN_OR_RETURN(out.hidden_size, Size(config, "hidden_size"));
  ASSIGN_OR_RETURN(out.intermediate_size, Size(config, "intermediate_size"));
  ASSIGN_OR_RETURN(out.layers, Size(config, "num_hidden_layers"));
  ASSIGN_OR_RETURN(out.heads, Size(config, "num_attention_heads"));
  ASSIGN_OR_RETURN(out.kv_heads, Size(config, "num_key_value_heads", out.heads));
  if (out.layers > 4096) return Unusable("num_hidden_layers", "is larger than any model's");
  if (out.heads % out.kv_heads != 0) return Unusable("num_key_value_heads", "does not divide num_attention_heads");
  if (At(config, "head_dim").is_null() && out.hidden_size % out.heads != 0) {
    return Unusable("num_attention_heads", "does not divide hidden_size, and there is no head_dim");
  }
  ASSIGN_OR_RETURN(out.head_dim, Size(config, "head_dim", std::max<int64_t>(1, out.hidden_size / out.heads)));
  if (out.head_dim % 2 != 0 || out.head_dim > 4096) return Unusable("head_dim", "is odd or larger than 4096");
  if (out.hidden_size % 2 != 0) return NotComputed("hidden_size", out.hidden_size);
  if (out.intermediate_size % 2 != 0) return NotComputed("intermediate_size", out.intermediate_size);
  ASSIGN_OR_RETURN(out.max_position_embeddings, Size(config, "max_position_embeddings", 2048));
  ASSIGN_OR_RETURN(out.rms_norm_eps, Real(config, "rms_norm_eps", 1e-6));
  ASSIGN_OR_RETURN(out.tied, Flag(config, "tie_word_embeddings", false));
  ASSIGN_OR_RETURN(out.output_bias, Flag(config, "attention_bias", false));
  ASSIGN_OR_RETURN(out.mlp_bias, Flag(config, "mlp_bias", false));
  out.qkv_bias = out.output_bias || qwen2;
  if (qwen2) out.output_bias = false;
  out.qk_norm = qwen3;
  RETURN_IF_ERROR(RefuseWhatIsNotComputed(config, out));
  ASSIGN_OR_RETURN(out.inv_frequencies, Frequencies(config, out.head_dim));
  const Json& eos = At(config, "eos_token_id");
  for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
    if (id.is_number_integer()) out.eos_token_ids.push_back(id.get<int64_t>());
  }
  if (At(config, "bos_token_id").is_number_integer()) out.bos_token_id = At(config, "bos_token_id").get<int64_t>();
  return out;
}

}  // namespace editd::nn
