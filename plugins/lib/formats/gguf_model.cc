#include "plugins/lib/formats/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <set>

#include "plugins/lib/formats/dequantize.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::formats {
namespace {

struct Architecture {
  std::string_view gguf;  // general.architecture
  std::string_view hf;    // architectures[0]
  std::string_view type;  // model_type
  bool permuted;          // Query and key rows are in llama.cpp's order.
  bool attention_bias;    // Query, key and value always have a bias; else all four projections or none.
  bool query_key_norms;
  bool gemma;  // Norms around 0, two more of them a layer, local layers, soft caps; always tied.
};

constexpr Architecture kArchitectures[] = {
    {"llama", "LlamaForCausalLM", "llama", true, false, false, false},
    {"qwen2", "Qwen2ForCausalLM", "qwen2", false, true, false, false},
    {"qwen3", "Qwen3ForCausalLM", "qwen3", false, false, true, false},
    {"gemma2", "Gemma2ForCausalLM", "gemma2", false, false, false, true},
    {"gemma3", "Gemma3ForCausalLM", "gemma3_text", false, false, true, true},
};

class Converter {
 public:
  Converter(const GgufFile& gguf, std::string_view name) : gguf_(gguf), name_(name) {}

  absl::StatusOr<GgufModel> Convert();

 private:
  template <typename... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(StrCat(name_, ": ", pieces...));
  }
  std::string Key(std::string_view key) const { return StrCat(arch_->gguf, ".", key); }
  bool Has(const std::string& tensor) const { return by_name_.count(tensor) != 0; }

  absl::Status ReadSizes();
  // A hyperparameter that must be there and be positive; if it is an array (one for each layer) all must be equal.
  absl::StatusOr<int64_t> Size(std::string_view key, std::optional<int64_t> otherwise = std::nullopt) const;
  absl::Status RefuseFeatures() const;
  // Gives the file's tensor `from` the name `to` in the checkpoint, if it has that shape.
  absl::Status Take(const std::string& from, const std::string& to, std::vector<int64_t> shape, int64_t heads = 0);
  absl::Status TakeLayer(int64_t layer);
  absl::Status TakeAll();
  absl::StatusOr<Json> RopeScaling() const;
  absl::StatusOr<Json> ScalingOfFrequencies(const GgufTensor& tensor) const;
  absl::Status GemmaConfig(Json* config) const;
  absl::StatusOr<Json> Config() const;

  const GgufFile& gguf_;
  const std::string_view name_;
  const Architecture* arch_ = nullptr;
  std::map<std::string_view, const GgufTensor*> by_name_;  // Those without a place yet.
  int64_t layers_ = 0, hidden_ = 0, inner_ = 0, heads_ = 0, kv_heads_ = 0, head_dim_ = 0, rows_ = 0, context_ = 0;
  bool attention_bias_ = false, mlp_bias_ = false;
  double theta_ = 10000;
  GgufModel model_;
};

absl::StatusOr<int64_t> Converter::Size(std::string_view key, std::optional<int64_t> otherwise) const {
  const std::string full = Key(key);
  std::optional<int64_t> value = gguf_.Integer(full);
  if (const GgufArray* array = gguf_.Array(full, GgufType::kI32); array != nullptr && array->count > 0) {
    value = IntegerAt(*array, 0);
    for (uint64_t i = 1; i < array->count; ++i) {
      if (IntegerAt(*array, i) != *value) return Error("\"", full, "\" differs between layers, which is not supported");
    }
  }
  if (!value && gguf_.Find(full) == nullptr) value = otherwise;
  if (!value) return Error("lacks the key \"", full, "\"");
  if (*value <= 0 || *value > (int64_t{1} << 40)) return Error("\"", full, "\" is ", *value);
  return *value;
}

absl::Status Converter::ReadSizes() {
  const std::optional<std::string_view> arch = gguf_.String("general.architecture");
  if (!arch) return Error("lacks the key \"general.architecture\"");
  for (const Architecture& known : kArchitectures) {
    if (known.gguf == *arch) arch_ = &known;
  }
  if (arch_ == nullptr) {
    return Error("architecture \"", *arch, "\" in GGUF is not supported yet; import the Hugging Face folder instead");
  }
  ASSIGN_OR_RETURN(layers_, Size("block_count"));
  ASSIGN_OR_RETURN(hidden_, Size("embedding_length"));
  ASSIGN_OR_RETURN(inner_, Size("feed_forward_length"));
  ASSIGN_OR_RETURN(context_, Size("context_length"));
  ASSIGN_OR_RETURN(heads_, Size("attention.head_count"));
  ASSIGN_OR_RETURN(kv_heads_, Size("attention.head_count_kv", heads_));
  ASSIGN_OR_RETURN(head_dim_, Size("attention.key_length", hidden_ / heads_));
  ASSIGN_OR_RETURN(const int64_t value_dim, Size("attention.value_length", head_dim_));
  ASSIGN_OR_RETURN(const int64_t rotated, Size("rope.dimension_count", head_dim_));
  if (heads_ % kv_heads_ != 0) return Error(heads_, " heads cannot share ", kv_heads_, " key-value heads");
  if (head_dim_ % 2 != 0 || value_dim != head_dim_ || rotated != head_dim_) {
    return Error("heads of size ", head_dim_, " with values of size ", value_dim, " and ", rotated,
                 " rotated dimensions are not supported");
  }
  if (gguf_.Find(Key("rope.freq_base")) != nullptr) theta_ = gguf_.Number(Key("rope.freq_base")).value_or(0);
  if (!(theta_ > 0)) return Error("\"", Key("rope.freq_base"), "\" is no positive number");
  return RefuseFeatures();
}

absl::Status Converter::RefuseFeatures() const {
  if (const int64_t parts = gguf_.Integer("split.count").value_or(0); parts > 1) {
    return Error("is one of ", parts, " parts; join them with llama-gguf-split --merge");
  }
  for (const std::string_view key : {"expert_count", "attention.sliding_window"}) {
    if (arch_->gemma && key == "attention.sliding_window") continue;
    if (gguf_.Integer(Key(key)).value_or(0) != 0) return Error("\"", Key(key), "\" is set, which is not supported yet");
  }
  return absl::OkStatus();
}

absl::Status Converter::Take(const std::string& from, const std::string& to, std::vector<int64_t> shape,
                             int64_t heads) {
  const auto it = by_name_.find(from);
  if (it == by_name_.end()) return Error("lacks the tensor \"", from, "\"");
  if (it->second->shape != shape) {
    const auto text = [](const std::vector<int64_t>& dimensions) {
      std::string out;
      for (const int64_t dimension : dimensions) StrAppend(&out, out.empty() ? "" : " x ", dimension);
      return out;
    };
    return Error("tensor \"", from, "\" is ", text(it->second->shape), ", the configuration makes it ", text(shape));
  }
  const float surplus = arch_->gemma && to.ends_with("norm.weight") ? 1.0f : 0.0f;
  model_.tensors.push_back({to, std::move(shape), it->second, arch_->permuted ? heads : 0, surplus});
  by_name_.erase(it);
  return absl::OkStatus();
}

absl::Status Converter::TakeLayer(int64_t layer) {
  const std::string from = StrCat("blk.", layer, "."), to = StrCat("model.layers.", layer, ".");
  const int64_t queries = heads_ * head_dim_, keys = kv_heads_ * head_dim_;
  struct Projection {
    std::string_view from, to;
    int64_t rows, columns, heads;
    bool bias;
  };
  const bool qkv_bias = arch_->attention_bias || attention_bias_;
  const Projection projections[] = {
      {"attn_q", "self_attn.q_proj", queries, hidden_, heads_, qkv_bias},
      {"attn_k", "self_attn.k_proj", keys, hidden_, kv_heads_, qkv_bias},
      {"attn_v", "self_attn.v_proj", keys, hidden_, 0, qkv_bias},
      {"attn_output", "self_attn.o_proj", hidden_, queries, 0, attention_bias_},
      {"ffn_gate", "mlp.gate_proj", inner_, hidden_, 0, mlp_bias_},
      {"ffn_up", "mlp.up_proj", inner_, hidden_, 0, mlp_bias_},
      {"ffn_down", "mlp.down_proj", hidden_, inner_, 0, mlp_bias_},
  };
  RETURN_IF_ERROR(Take(StrCat(from, "attn_norm.weight"), StrCat(to, "input_layernorm.weight"), {hidden_}));
  for (const Projection& p : projections) {
    RETURN_IF_ERROR(Take(StrCat(from, p.from, ".weight"), StrCat(to, p.to, ".weight"), {p.rows, p.columns}, p.heads));
    if (p.bias) RETURN_IF_ERROR(Take(StrCat(from, p.from, ".bias"), StrCat(to, p.to, ".bias"), {p.rows}, p.heads));
  }
  if (arch_->query_key_norms) {
    RETURN_IF_ERROR(Take(StrCat(from, "attn_q_norm.weight"), StrCat(to, "self_attn.q_norm.weight"), {head_dim_}));
    RETURN_IF_ERROR(Take(StrCat(from, "attn_k_norm.weight"), StrCat(to, "self_attn.k_norm.weight"), {head_dim_}));
  }
  if (!arch_->gemma) {
    return Take(StrCat(from, "ffn_norm.weight"), StrCat(to, "post_attention_layernorm.weight"), {hidden_});
  }
  RETURN_IF_ERROR(
      Take(StrCat(from, "post_attention_norm.weight"), StrCat(to, "post_attention_layernorm.weight"), {hidden_}));
  RETURN_IF_ERROR(Take(StrCat(from, "ffn_norm.weight"), StrCat(to, "pre_feedforward_layernorm.weight"), {hidden_}));
  return Take(StrCat(from, "post_ffw_norm.weight"), StrCat(to, "post_feedforward_layernorm.weight"), {hidden_});
}

absl::Status Converter::TakeAll() {
  for (const GgufTensor& tensor : gguf_.tensors) by_name_.emplace(tensor.name, &tensor);
  by_name_.erase("rope_freqs.weight");  // Part of the configuration.
  const auto embedding = by_name_.find("token_embd.weight");
  if (embedding == by_name_.end()) return Error("lacks the tensor \"token_embd.weight\"");
  rows_ = embedding->second->shape.empty() ? 0 : embedding->second->shape[0];
  RETURN_IF_ERROR(Take("token_embd.weight", "model.embed_tokens.weight", {rows_, hidden_}));
  attention_bias_ = !arch_->attention_bias && Has("blk.0.attn_q.bias");
  mlp_bias_ = arch_->gguf == "llama" && Has("blk.0.ffn_up.bias");
  for (int64_t layer = 0; layer < layers_; ++layer) RETURN_IF_ERROR(TakeLayer(layer));
  RETURN_IF_ERROR(Take("output_norm.weight", "model.norm.weight", {hidden_}));
  model_.tied = !Has("output.weight");
  if (!model_.tied) RETURN_IF_ERROR(Take("output.weight", "lm_head.weight", {rows_, hidden_}));
  if (!by_name_.empty()) {
    return Error("tensor \"", by_name_.begin()->first, "\" has no place in architecture \"", arch_->gguf, "\"");
  }
  return absl::OkStatus();
}

// Llama 3.1 and later: the file has a divisor for each frequency, the configuration the rule that made them.
// Frequencies whose wavelength exceeds the original context are divided by the factor, short ones are left, and in
// between the two are blended. The divisors are computed again from the rule and compared.
absl::StatusOr<Json> Converter::ScalingOfFrequencies(const GgufTensor& tensor) const {
  const int64_t count = tensor.Elements();
  if (count != head_dim_ / 2) return Error("\"rope_freqs.weight\" has ", count, " elements for heads of ", head_dim_);
  std::vector<float> divisors(count);
  Dequantize(tensor.type, tensor.bytes.data(), divisors.size(), divisors.data());
  const double factor = *std::max_element(divisors.begin(), divisors.end());
  const double context = static_cast<double>(gguf_.Integer(Key("rope.scaling.original_context_length")).value_or(8192));
  constexpr double kLow = 1, kHigh = 4;
  for (int64_t i = 0; i < count; ++i) {
    const double frequency = std::pow(theta_, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim_));
    const double waves = context * frequency / (2 * std::numbers::pi);
    double expected = factor;
    if (waves > kHigh) {
      expected = 1;
    } else if (waves >= kLow) {
      const double smooth = (waves - kLow) / (kHigh - kLow);
      expected = 1 / ((1 - smooth) / factor + smooth);
    }
    if (!(std::abs(divisors[i] - expected) <= 1e-4 * expected)) {
      return Error("\"rope_freqs.weight\" is not what Llama 3's scaling by ", factor, " makes: element ", i, " is ",
                   divisors[i], ", not ", expected);
    }
  }
  if (factor == 1) return Json(nullptr);
  return Json{{"rope_type", "llama3"},
              {"factor", ShortestDouble(static_cast<float>(factor))},
              {"low_freq_factor", kLow},
              {"high_freq_factor", kHigh},
              {"original_max_position_embeddings", static_cast<int64_t>(context)}};
}

absl::StatusOr<Json> Converter::RopeScaling() const {
  for (const GgufTensor& tensor : gguf_.tensors) {
    if (tensor.name == "rope_freqs.weight") return ScalingOfFrequencies(tensor);
  }
  const std::string_view type = gguf_.String(Key("rope.scaling.type")).value_or("none");
  const double factor = gguf_.Number(Key("rope.scaling.factor")).value_or(1);
  if (type == "none" || type.empty()) return Json(nullptr);
  if (type == "linear" && factor > 0) return Json{{"rope_type", "linear"}, {"factor", factor}};
  if (type == "yarn" && factor > 0) {
    Json yarn = {{"rope_type", "yarn"}, {"factor", factor}};
    if (const auto context = gguf_.Integer(Key("rope.scaling.original_context_length"))) {
      yarn["original_max_position_embeddings"] = *context;
    }
    for (const auto& [from, to] :
         {std::pair("yarn_attn_factor", "attention_factor"), std::pair("yarn_beta_fast", "beta_fast"),
          std::pair("yarn_beta_slow", "beta_slow")}) {
      const auto value = gguf_.Number(Key(StrCat("rope.scaling.", from)));
      if (value) yarn[to] = ShortestDouble(static_cast<float>(*value));
    }
    for (const std::string_view key : {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_log_multiplier"}) {
      if (gguf_.Find(Key(key)) != nullptr) return Error("\"", Key(key), "\" is set, which is not supported yet");
    }
    return yarn;
  }
  return Error("\"", Key("rope.scaling.type"), "\" is \"", type, "\" with factor ", factor, ", which is not supported");
}

// The keys of the Gemmas, and where llama.cpp's reader goes by the number of layers, what it takes then.
absl::Status Converter::GemmaConfig(Json* config) const {
  const bool third = arch_->gguf == "gemma3";
  config->erase("hidden_act");
  (*config)["hidden_activation"] = "gelu_pytorch_tanh";
  const bool largest = layers_ == (third ? 62 : 46);  // 27B.
  (*config)["query_pre_attn_scalar"] = largest ? hidden_ / heads_ : head_dim_;

  const auto cap = [&](const char* key, std::optional<double> otherwise) -> Json {
    const std::optional<double> value = gguf_.Find(Key(key)) == nullptr ? otherwise : gguf_.Number(Key(key));
    if (!value || *value == 0) return Json(nullptr);
    return ShortestDouble(static_cast<float>(*value));
  };
  const auto otherwise = [&](double value) { return third ? std::nullopt : std::optional<double>(value); };
  (*config)["attn_logit_softcapping"] = cap("attn_logit_softcapping", otherwise(50));
  (*config)["final_logit_softcapping"] = cap("final_logit_softcapping", otherwise(30));
  if (third && !(*config)["attn_logit_softcapping"].is_null()) {
    return Error("\"", Key("attn_logit_softcapping"), "\" is set, which no Gemma 3 has");
  }

  const int64_t window = gguf_.Integer(Key("attention.sliding_window")).value_or(third ? 0 : 4096);
  if (window < 0 || window > (int64_t{1} << 31)) return Error("\"", Key("attention.sliding_window"), "\" is ", window);
  const int64_t period = third ? 6 : 2;
  const std::string pattern = Key("attention.sliding_window_pattern");
  const GgufArray* const each = gguf_.Array(pattern, GgufType::kBool);
  if (gguf_.Find(pattern) != nullptr && each == nullptr && gguf_.Integer(pattern) != period) {
    return Error("\"", pattern, "\" is not ", period, ", which is not supported yet");
  }
  if (each != nullptr && each->count != static_cast<uint64_t>(layers_)) {
    return Error("\"", pattern, "\" speaks of ", each->count, " layers, not of ", layers_);
  }
  Json kinds = Json::array();
  for (int64_t i = 0; i < layers_; ++i) {
    const bool local = each != nullptr ? each->bytes[i] != 0 : (i + 1) % period != 0;
    kinds.push_back(window > 0 && local ? "sliding_attention" : "full_attention");
  }
  (*config)["layer_types"] = std::move(kinds);
  (*config)["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  const double near = gguf_.Number(Key("rope.freq_base_swa")).value_or(third ? 10000 : theta_);
  if (third) {
    (*config)["rope_local_base_freq"] = ShortestDouble(static_cast<float>(near));
  } else if (near != theta_) {
    return Error("\"", Key("rope.freq_base_swa"), "\" is ", near, ", which no configuration of Gemma 2 expresses");
  }
  return absl::OkStatus();
}

absl::StatusOr<Json> Converter::Config() const {
  ASSIGN_OR_RETURN(Json scaling, RopeScaling());
  const auto eps = gguf_.Number(Key("attention.layer_norm_rms_epsilon"));
  if (!eps || !(*eps > 0)) return Error("lacks the key \"", Key("attention.layer_norm_rms_epsilon"), "\"");
  Json config;
  config["architectures"] = Json::array({std::string(arch_->hf)});
  config["model_type"] = std::string(arch_->type);
  config["vocab_size"] = rows_;
  config["hidden_size"] = hidden_;
  config["intermediate_size"] = inner_;
  config["num_hidden_layers"] = layers_;
  config["num_attention_heads"] = heads_;
  config["num_key_value_heads"] = kv_heads_;
  config["head_dim"] = head_dim_;
  config["hidden_act"] = "silu";
  config["max_position_embeddings"] = context_;
  config["rms_norm_eps"] = ShortestDouble(static_cast<float>(*eps));
  config["rope_theta"] = ShortestDouble(static_cast<float>(theta_));
  config["rope_scaling"] = std::move(scaling);
  if (arch_->gguf == "qwen2") {
    config["use_sliding_window"] = false;
  } else {
    config["attention_bias"] = attention_bias_;
  }
  if (arch_->gguf == "llama") config["mlp_bias"] = mlp_bias_;
  if (arch_->gemma) RETURN_IF_ERROR(GemmaConfig(&config));
  config["attention_dropout"] = 0.0;
  config["initializer_range"] = 0.02;
  config["tie_word_embeddings"] = model_.tied;
  config["use_cache"] = true;
  return config;
}

absl::StatusOr<GgufModel> Converter::Convert() {
  RETURN_IF_ERROR(ReadSizes());
  RETURN_IF_ERROR(TakeAll());
  ASSIGN_OR_RETURN(model_.config, Config());
  model_.architecture = std::string(arch_->hf);
  model_.rows = rows_;
  return std::move(model_);
}

}  // namespace

int64_t GgufSource::Rows() const { return shape.size() < 2 && heads == 0 ? 1 : shape[0]; }
int64_t GgufSource::Width() const { return tensor->Elements() / Rows(); }

// llama.cpp rotates neighbouring pairs, Hugging Face's models the two halves of a head: row 2a + b of a head in the
// file is row b * (size / 2) + a here.
int64_t GgufSource::SourceRow(int64_t row) const {
  if (heads == 0) return row;
  const int64_t size = shape[0] / heads, head = row / size, within = row % size;
  return head * size + within % (size / 2) * 2 + within / (size / 2);
}

absl::StatusOr<GgufModel> ConvertGgufModel(const GgufFile& gguf, std::string_view name) {
  return Converter(gguf, name).Convert();
}

}  // namespace editd::formats
