#include "plugins/lib/nn/config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "plugins/lib/nn/config_values.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

// A family's configuration class in transformers: what holds where the file is silent. 0: follows from others.
struct Family {
  std::string_view architecture, model_type;
  bool gemma;
  bool window_always, window_on_request;  // sliding_window counts as it stands, or only with use_sliding_window.
  int64_t kv_heads, head_dim, max_positions;
  int64_t vocab, hidden, inner, layers, heads;
};
constexpr Family kFamilies[] = {
    {"LlamaForCausalLM", "llama", false, false, false, 0, 0, 2048, 32000, 4096, 11008, 32, 32},
    {"MistralForCausalLM", "mistral", false, true, false, 8, 0, 131072, 32000, 4096, 14336, 32, 32},
    {"Qwen2ForCausalLM", "qwen2", false, false, true, 32, 0, 32768, 151936, 4096, 22016, 32, 32},
    {"Qwen3ForCausalLM", "qwen3", false, false, true, 32, 128, 32768, 151936, 4096, 22016, 32, 32},
    {"Gemma2ForCausalLM", "gemma2", true, true, false, 4, 256, 8192, 256000, 2304, 9216, 26, 8},
    // Files of Gemma 3 leave out what is the default.
    {"Gemma3ForCausalLM", "gemma3_text", true, true, false, 4, 256, 131072, 262208, 2304, 9216, 26, 8},
};
constexpr std::string_view kGemma3Seeing = "Gemma3ForConditionalGeneration";

bool Is(const Family& family, std::string_view model_type) { return family.model_type == model_type; }

// A key that is absent takes the default; null is said on purpose.
bool Absent(const Json& config, const char* key) { return config.find(key) == config.end(); }

absl::StatusOr<const Family*> FamilyOf(const Json& config, DecoderConfig* out) {
  const Json& names = At(config, "architectures");
  const Json& type = At(config, "model_type");
  if (names.is_null() && type.is_string()) {
    if (type == "gemma3") out->architecture = kGemma3Seeing;
    for (const Family& family : kFamilies) {
      if (type == std::string(family.model_type)) out->architecture = family.architecture;
    }
    if (out->architecture.empty()) return NotComputed("model_type", type);
  } else {
    if (!names.is_array() || names.size() != 1 || !names[0].is_string()) {
      return Unusable("architectures", "does not name one architecture");
    }
    out->architecture = names[0].get<std::string>();
  }
  out->language_part = out->architecture == kGemma3Seeing;
  const std::string wanted = out->language_part ? "Gemma3ForCausalLM" : out->architecture;
  for (const Family& family : kFamilies) {
    if (family.architecture == wanted) return &family;
  }
  return NotComputed("architectures", names[0]);
}

absl::Status ReadSizes(const Json& config, const Family& family, DecoderConfig* out) {
  ASSIGN_OR_RETURN(out->vocab_size, Size(config, "vocab_size", family.vocab));
  ASSIGN_OR_RETURN(out->hidden_size, Size(config, "hidden_size", family.hidden));
  ASSIGN_OR_RETURN(out->intermediate_size, Size(config, "intermediate_size", family.inner));
  ASSIGN_OR_RETURN(out->layers, Size(config, "num_hidden_layers", family.layers));
  ASSIGN_OR_RETURN(out->heads, Size(config, "num_attention_heads", family.heads));
  const bool own = family.kv_heads == 0 || !Absent(config, "num_key_value_heads");
  ASSIGN_OR_RETURN(out->kv_heads, Size(config, "num_key_value_heads", own ? out->heads : family.kv_heads));
  if (out->layers > 4096) return Unusable("num_hidden_layers", "is larger than any model's");
  if (out->heads % out->kv_heads != 0) return Unusable("num_key_value_heads", "does not divide num_attention_heads");
  const int64_t head_dim = family.head_dim > 0 ? family.head_dim : std::max<int64_t>(1, out->hidden_size / out->heads);
  if (At(config, "head_dim").is_null() && family.head_dim == 0 && out->hidden_size % out->heads != 0) {
    return Unusable("num_attention_heads", "does not divide hidden_size, and there is no head_dim");
  }
  ASSIGN_OR_RETURN(out->head_dim, Size(config, "head_dim", head_dim));
  if (out->head_dim % 2 != 0 || out->head_dim > 4096) return Unusable("head_dim", "is odd or larger than 4096");
  if (out->hidden_size % 2 != 0) return NotComputed("hidden_size", out->hidden_size);
  if (out->intermediate_size % 2 != 0) return NotComputed("intermediate_size", out->intermediate_size);
  ASSIGN_OR_RETURN(out->max_position_embeddings, Size(config, "max_position_embeddings", family.max_positions));
  ASSIGN_OR_RETURN(out->rms_norm_eps, Real(config, "rms_norm_eps", 1e-6));
  return absl::OkStatus();
}

// Biases, norms, scales, caps.
absl::Status ReadArithmetic(const Json& config, const Family& family, DecoderConfig* out) {
  ASSIGN_OR_RETURN(out->output_bias, Flag(config, "attention_bias", false));
  ASSIGN_OR_RETURN(out->mlp_bias, Flag(config, "mlp_bias", false));
  if (out->mlp_bias && !Is(family, "llama")) return NotComputed("mlp_bias", true);
  if (out->output_bias && Is(family, "mistral")) return NotComputed("attention_bias", true);
  out->qkv_bias = out->output_bias || Is(family, "qwen2");
  if (Is(family, "qwen2")) out->output_bias = false;
  out->qk_norm = Is(family, "qwen3") || Is(family, "gemma3_text");
  out->norm_offset = out->output_norms = family.gemma;

  for (const char* name : {"hidden_act", "hidden_activation"}) {
    const Json& act = At(config, name);
    const bool known = family.gemma ? act == "gelu_pytorch_tanh" : act == "silu" || act == "swish";
    if (!act.is_null() && !known) return NotComputed(name, act);
  }
  out->activation = family.gemma ? Activation::kGeluTanh : Activation::kSilu;

  double scalar = static_cast<double>(out->head_dim);
  if (family.gemma) {
    ASSIGN_OR_RETURN(scalar, Real(config, "query_pre_attn_scalar", 256));
    out->embedding_scale = std::sqrt(static_cast<double>(out->hidden_size));
    // null: none, on purpose.
    const auto cap = [&](const char* name, double otherwise, double* to) -> absl::Status {
      *to = Absent(config, name) ? otherwise : 0;
      if (At(config, name).is_null()) return absl::OkStatus();
      ASSIGN_OR_RETURN(*to, Real(config, name));
      return absl::OkStatus();
    };
    const bool second = Is(family, "gemma2");
    // Gemma 3's class keeps attn_logit_softcapping from Gemma 2's, and its attention, like llama.cpp's, has no cap.
    if (second) RETURN_IF_ERROR(cap("attn_logit_softcapping", 50, &out->attention_cap));
    RETURN_IF_ERROR(cap("final_logit_softcapping", second ? 30 : 0, &out->logit_cap));
    // The model that also sees has the setting in its text_config, and does not do it.
    if (out->language_part && out->logit_cap != 0) {
      return NotComputed("final_logit_softcapping", At(config, "final_logit_softcapping"));
    }
  }
  out->query_scale = std::pow(scalar, -0.5);
  return absl::OkStatus();
}

// Which layers attend to a window only, and how wide it is.
absl::StatusOr<std::vector<bool>> ReadWindows(const Json& config, const Family& family, DecoderConfig* out) {
  std::vector<bool> local(out->layers, false);
  const Json& window = At(config, "sliding_window");
  const Json& kinds = At(config, "layer_types");
  if (!family.window_always && !family.window_on_request && !window.is_null()) {
    return NotComputed("sliding_window", window);
  }
  int64_t width = 0;
  ASSIGN_OR_RETURN(const bool wanted, Flag(config, "use_sliding_window", false));
  if (family.window_always || (family.window_on_request && wanted)) {
    ASSIGN_OR_RETURN(width, Size(config, "sliding_window", 4096));
    if (window.is_null() && !Absent(config, "sliding_window")) width = 0;
  }
  if (Is(family, "gemma2") || Is(family, "gemma3_text")) {
    ASSIGN_OR_RETURN(const int64_t pattern, Size(config, "sliding_window_pattern", Is(family, "gemma2") ? 2 : 6));
    if (Is(family, "gemma2") && pattern != 2) return NotComputed("sliding_window_pattern", pattern);
    for (int64_t i = 0; i < out->layers; ++i) local[i] = (i + 1) % pattern != 0;
  } else if (family.window_on_request && width > 0) {
    const Json& first = At(config, "max_window_layers");
    if (!first.is_null() && !first.is_number_integer()) return Unusable("max_window_layers", "is not a whole number");
    const int64_t from = first.is_null() ? 28 : first.get<int64_t>();
    for (int64_t i = 0; i < out->layers; ++i) local[i] = i >= from;
  } else if (width > 0) {
    local.assign(out->layers, true);
  }
  if (!kinds.is_null()) {
    if (!kinds.is_array() || static_cast<int64_t>(kinds.size()) != out->layers) {
      return Unusable("layer_types", StrCat("does not name one kind for each of ", out->layers, " layers"));
    }
    std::vector<bool> named(out->layers);
    for (int64_t i = 0; i < out->layers; ++i) {
      if (kinds[i] != "full_attention" && kinds[i] != "sliding_attention") return NotComputed("layer_types", kinds[i]);
      named[i] = kinds[i] == "sliding_attention";
    }
    // Families without such a setting are not computed by it.
    const bool free = family.gemma || family.window_on_request;
    if (!free && named != local) return NotComputed("layer_types", kinds);
    local = named;
  }
  const bool any = std::find(local.begin(), local.end(), true) != local.end();
  if (any && width == 0) return Unusable("sliding_window", "is missing, and some layers attend to a window");
  out->attention.resize(out->layers);
  for (int64_t i = 0; i < out->layers; ++i) out->attention[i].window = local[i] ? width : 0;
  return local;
}

absl::Status ReadRopes(const Json& config, const Family& family, const std::vector<bool>& local, DecoderConfig* out) {
  const Json& scaling = At(config, "rope_scaling");
  const Json& parameters = At(config, "rope_parameters");
  RopeSetting setting = {.key = scaling.is_null() ? "rope_parameters" : "rope_scaling",
                         .theta = 0,
                         .head_dim = out->head_dim,
                         .max_positions = out->max_position_embeddings};
  if (!scaling.is_null() && !scaling.is_object()) return Unusable("rope_scaling", "is not an object");
  if (!parameters.is_null() && !parameters.is_object()) return Unusable("rope_parameters", "is not an object");
  if (!Is(family, "gemma3_text")) {
    ASSIGN_OR_RETURN(setting.theta, Real(config, "rope_theta", 10000.0));
    if (const char* const key = "original_max_position_embeddings"; !At(config, key).is_null()) {
      ASSIGN_OR_RETURN(setting.forced_context, Size(config, key));
    }
    ASSIGN_OR_RETURN(const Rope rope, ParseRope(scaling.empty() ? parameters : scaling, setting));
    out->ropes = {rope};
    return absl::OkStatus();
  }
  // Two rotations: scaling is for the layers that see everything.
  for (const auto& [name, value] : parameters.items()) {
    if (name != "full_attention" && name != "sliding_attention") {
      return NotComputed(StrCat("rope_parameters.", name), value);
    }
  }
  if (!scaling.is_null() && !parameters.is_null()) {
    return Unusable("rope_scaling", "stands beside rope_parameters, which say the same");
  }
  // transformers 5 overlooks this old spelling here, and would scale nothing.
  if (const Json& type = At(scaling, "type"); !type.is_null() && At(scaling, "rope_type").is_null()) {
    return NotComputed("rope_scaling.type", type);
  }
  static const Json kNone;
  const auto of = [&](const char* kind) -> const Json& { return parameters.is_null() ? kNone : At(parameters, kind); };
  // transformers looks for yarn's "truncate" one level up, where it finds none.
  for (const Json* whole : {&scaling, &of("full_attention")}) {
    if (whole->is_object() && At(*whole, "truncate") == false) return NotComputed("truncate", false);
  }
  ASSIGN_OR_RETURN(setting.theta, Real(config, "rope_theta", 1e6));
  ASSIGN_OR_RETURN(const Rope whole, ParseRope(scaling.is_null() ? of("full_attention") : scaling, setting));
  setting.key = "rope_parameters";
  ASSIGN_OR_RETURN(setting.theta, Real(config, "rope_local_base_freq", 10000.0));
  ASSIGN_OR_RETURN(const Rope near, ParseRope(of("sliding_attention"), setting));
  out->ropes = {whole, near};
  for (int64_t i = 0; i < out->layers; ++i) out->attention[i].rope = local[i] ? 1 : 0;
  return absl::OkStatus();
}

// Settings of other models that share these config files: each is refused unless it says what is so here anyway.
absl::Status RefuseWhatIsNotComputed(const Json& config, const Family& family) {
  const auto refuse = [&](std::initializer_list<const char*> keys, const Json& none) -> absl::Status {
    for (const char* key : keys) {
      const Json& value = At(config, key);
      if (!value.is_null() && (none.is_null() || value != none)) return NotComputed(key, value);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(
      refuse({"quantization_config", "compression_config", "moe_intermediate_size", "num_experts_per_tok",
              "attention_multiplier", "mlp_multipliers", "scale_depth", "dim_model_base", "attention_chunk_size",
              "no_rope_layers", "no_rope_layer_interval", "clip_qkv", "logits_soft_cap", "hidden_size_per_layer_input"},
             nullptr));
  RETURN_IF_ERROR(refuse({"num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts",
                          "num_kv_shared_layers", "kv_lora_rank"},
                         0));
  RETURN_IF_ERROR(
      refuse({"logits_scaling", "logit_scale", "embedding_multiplier", "residual_multiplier", "lm_head_multiplier",
              "key_multiplier", "attention_in_multiplier", "attention_out_multiplier", "output_multiplier",
              "embedding_scale", "scale_emb", "rotary_pct", "rope_ratio", "partial_rotary_factor"},
             1));
  for (const char* key :
       {"use_bidirectional_attention", "add_cross_attention", "is_encoder_decoder", "use_qk_norm", "qk_norm",
        "qk_layernorm", "use_mrope", "alibi", "rope_interleaved", "rope_interleave", "mup_enabled", "scale_embedding",
        "parallel_attn", "use_parallel_residual", "use_post_norm", "lm_head_bias", "attention_out_bias", "use_bias"}) {
    ASSIGN_OR_RETURN(const bool set, Flag(config, key, false));
    if (set) return NotComputed(key, true);
  }
  ASSIGN_OR_RETURN(const bool causal, Flag(config, "is_causal", true));
  if (!causal) return NotComputed("is_causal", false);
  if (family.gemma) return absl::OkStatus();
  return refuse({"attn_logit_softcapping", "final_logit_softcapping", "query_pre_attn_scalar", "rope_local_base_freq",
                 "sliding_window_pattern"},
                nullptr);
}

void ReadTokens(const Json& config, DecoderConfig* out) {
  const Json& eos = At(config, "eos_token_id");
  for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
    if (id.is_number_integer()) out->eos_token_ids.push_back(id.get<int64_t>());
  }
  if (At(config, "bos_token_id").is_number_integer()) out->bos_token_id = At(config, "bos_token_id").get<int64_t>();
}

}  // namespace

absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json) {
  const Json file = Json::parse(config_json, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object()) return absl::InvalidArgumentError("config.json: not a JSON object");
  DecoderConfig out;
  ASSIGN_OR_RETURN(const Family* const family, FamilyOf(file, &out));
  Json config = file;
  if (out.language_part) {
    config = At(file, "text_config");
    if (!config.is_object()) return Unusable("text_config", "is no object, and the architecture is of text and images");
    for (const char* key : {"quantization_config", "eos_token_id", "bos_token_id"}) {
      if (!At(file, key).is_null()) config[key] = At(file, key);
    }
    config.erase("tie_word_embeddings");  // The whole model's counts, and its default.
    if (!Absent(file, "tie_word_embeddings")) config["tie_word_embeddings"] = At(file, "tie_word_embeddings");
  }
  RETURN_IF_ERROR(RefuseWhatIsNotComputed(config, *family));
  RETURN_IF_ERROR(ReadSizes(config, *family, &out));
  if (!Absent(config, "tie_word_embeddings") && At(config, "tie_word_embeddings").is_null()) {
    return Unusable("tie_word_embeddings", "is neither true nor false");
  }
  ASSIGN_OR_RETURN(out.tied, Flag(config, "tie_word_embeddings", family->gemma));
  RETURN_IF_ERROR(ReadArithmetic(config, *family, &out));
  ASSIGN_OR_RETURN(const std::vector<bool> local, ReadWindows(config, *family, &out));
  RETURN_IF_ERROR(ReadRopes(config, *family, local, &out));
  ReadTokens(config, &out);
  return out;
}

}  // namespace editd::nn
