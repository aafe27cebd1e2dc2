// adapter_config.json, read and written.
//
// PEFT's rule for patterns is re.match(r"(.*\.)?(KEY)$", module): a key is a regular expression for the whole module
// path or for its end after a dot; the first key that matches counts. RE2 reads the same language but for look-around
// and back-references, which are refused, and takes time linear in the text whatever the pattern.
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "plugins/lib/formats/adapter.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::formats {
namespace {

// Keys that change nothing of what the adapter computes once it is trained: bookkeeping, and how it was trained. Which
// modules have factors is told by the tensors themselves.
constexpr std::string_view kLetBy[] = {
    "auto_mapping",      "corda_config",    "ensure_weight_tying", "eva_config",      "exclude_modules",
    "inference_mode",    "layers_pattern",  "layers_to_transform", "loftq_config",    "lora_dropout",
    "lora_ga_config",    "megatron_config", "megatron_core",       "modules_to_save", "peft_version",
    "qalora_group_size", "revision",        "runtime_config",      "target_modules",  "task_type",
    "velora_config",
};

// Keys that change what it computes, in ways that we do not follow.
constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
    {"alora_invocation_tokens", "it switches the adapter on in the middle of a text, which no merged model can"},
    {"arrow_config", "it routes between adapters, which no merged model can"},
    {"kasa_config", "it changes the base's own weights"},
    {"layer_replication", "it makes a model with other layers; make that model first"},
    {"lora_bias", "a bias inside the low-rank product is not supported"},
    {"monteclora_config", "it adds random samples to the factors"},
    {"target_parameters", "low-rank changes of parameters that are no module's weight are not supported"},
    {"use_bdlora", "block-diagonal factors are not supported"},
    {"use_qalora", "it pools the inputs of a quantised layer, which no 16-bit model does"},
};

// Values that mean "not used".
bool Unused(const Json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) || (value.is_number() && value == 0) ||
         ((value.is_array() || value.is_object() || value.is_string()) && value.empty());
}

class ConfigReader {
 public:
  ConfigReader(const Json& json, std::string_view name) : json_(json), name_(name) {}

  absl::StatusOr<AdapterConfig> Read() {
    CheckType();
    if (problems_.empty()) {
      CheckKeys();
      ReadValues();
    }
    if (problems_.empty()) return std::move(config_);
    std::string message = StrCat(name_, ": ");
    for (size_t i = 0; i < problems_.size(); ++i) StrAppend(&message, i == 0 ? "" : "\n  ", problems_[i]);
    return absl::InvalidArgumentError(message);
  }

 private:
  template <typename... Pieces>
  void Problem(const Pieces&... pieces) {
    problems_.push_back(StrCat(pieces...));
  }
  const Json* Find(std::string_view key) const {
    const auto it = json_.find(std::string(key));
    return it == json_.end() || it->is_null() ? nullptr : &*it;
  }
  void CheckType();
  void CheckKeys();
  void ReadValues();
  void ReadNumber(std::string_view key, double* out);
  void ReadBool(std::string_view key, bool* out);
  void ReadPattern(std::string_view key, std::vector<std::pair<std::string, double>>* out);
  void ReadTokens();
  void CheckInit();
  std::vector<int64_t> TokenList(const Json& list);

  const Json& json_;
  const std::string_view name_;
  AdapterConfig config_;
  std::vector<std::string> problems_;
};

void ConfigReader::CheckType() {
  const Json* type = Find("peft_type");
  if (type == nullptr || !type->is_string()) {
    Problem("has no peft_type; is it a PEFT adapter?");
  } else if (*type != "LORA") {
    Problem("peft_type ", type->get<std::string>(), " is not supported; LORA is");
  }
}

void ConfigReader::CheckKeys() {
  static constexpr std::string_view kRead[] = {"alpha_pattern",
                                               "base_model_name_or_path",
                                               "bias",
                                               "fan_in_fan_out",
                                               "lora_alpha",
                                               "peft_type",
                                               "r",
                                               "rank_pattern",
                                               "use_dora",
                                               "use_rslora",
                                               "init_lora_weights",
                                               "trainable_token_indices"};
  for (const auto& [key, value] : json_.items()) {
    const auto is_key = [&key = key](std::string_view known) { return known == key; };
    if (std::any_of(std::begin(kRead), std::end(kRead), is_key)) continue;
    if (std::any_of(std::begin(kLetBy), std::end(kLetBy), is_key)) continue;
    if (Unused(value)) continue;
    const auto refused =
        std::find_if(std::begin(kRefused), std::end(kRefused), [&](const auto& known) { return is_key(known.first); });
    if (refused != std::end(kRefused)) {
      Problem("key \"", key, "\" is set: ", refused->second);
    } else {
      Problem("key \"", key, "\" is not known, and may change what the adapter computes; remove it if it does not");
    }
  }
}

void ConfigReader::ReadNumber(std::string_view key, double* out) {
  const Json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    Problem("\"", key, "\" is no number");
  } else {
    *out = value->get<double>();
  }
}

void ConfigReader::ReadBool(std::string_view key, bool* out) {
  const Json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_boolean()) {
    Problem("\"", key, "\" is neither true nor false");
  } else {
    *out = value->get<bool>();
  }
}

RE2::Options PatternOptions() {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(1 << 20);
  return options;
}

void ConfigReader::ReadPattern(std::string_view key, std::vector<std::pair<std::string, double>>* out) {
  const Json* value = Find(key);
  if (value == nullptr) return;
  if (!value->is_object()) return Problem("\"", key, "\" is no object");
  for (const auto& [pattern, number] : value->items()) {
    if (!number.is_number() || !std::isfinite(number.get<double>())) {
      Problem(key, "[\"", pattern, "\"] is no number");
    } else if (const RE2 compiled(StrCat("(.*\\.)?(", pattern, ")"), PatternOptions()); !compiled.ok()) {
      Problem(key, "[\"", pattern, "\"] is no pattern that can be followed: ", compiled.error());
    } else {
      out->emplace_back(pattern, number.get<double>());
    }
  }
}

std::vector<int64_t> ConfigReader::TokenList(const Json& list) {
  std::vector<int64_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0) {
      Problem("trainable_token_indices has ", id.dump(), ", which is no token id");
    } else {
      ids.push_back(id.get<int64_t>());
    }
  }
  return ids;
}

void ConfigReader::ReadTokens() {
  const Json* value = Find("trainable_token_indices");
  if (value == nullptr) return;
  if (value->is_array()) {
    config_.token_indices.emplace_back("", TokenList(*value));
  } else if (value->is_object()) {
    for (const auto& [module, list] : value->items()) {
      if (!list.is_array()) {
        Problem("trainable_token_indices[\"", module, "\"] is no list");
      } else {
        config_.token_indices.emplace_back(module, TokenList(list));
      }
    }
  } else {
    Problem("trainable_token_indices is neither a list nor an object");
  }
}

// Some ways to begin take the first factors out of the base's weights, and PEFT does it again whenever it loads such an
// adapter: the adapter means nothing beside the base as it is.
void ConfigReader::CheckInit() {
  const Json* value = Find("init_lora_weights");
  if (value == nullptr || !value->is_string()) return;
  const std::string init = value->get<std::string>();
  for (const char* known : {"gaussian", "orthogonal", "eva"}) {
    if (init == known) return;
  }
  for (const char* changing : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
    if (!init.starts_with(changing)) continue;
    return Problem("init_lora_weights is \"", init, "\", which changes the base's weights; save the adapter with ",
                   "path_initial_model_for_weight_conversion, or set it to true and merge into the changed base");
  }
  Problem("init_lora_weights is \"", init, "\", which is not known");
}

void ConfigReader::ReadValues() {
  CheckInit();
  ReadNumber("r", &config_.rank);
  ReadNumber("lora_alpha", &config_.alpha);
  ReadBool("use_rslora", &config_.rslora);
  ReadBool("use_dora", &config_.dora);
  ReadBool("fan_in_fan_out", &config_.fan_in_fan_out);
  ReadPattern("rank_pattern", &config_.rank_pattern);
  ReadPattern("alpha_pattern", &config_.alpha_pattern);
  ReadTokens();
  if (const Json* base = Find("base_model_name_or_path"); base != nullptr && base->is_string()) {
    config_.base_model = base->get<std::string>();
  }
  if (const Json* bias = Find("bias"); bias != nullptr) {
    config_.bias = bias->is_string() ? bias->get<std::string>() : bias->dump();
    if (config_.bias != "none" && config_.bias != "all" && config_.bias != "lora_only") {
      Problem("bias is ", bias->dump(), "; none, all and lora_only are known");
    }
  }
}

const double* Match(const std::vector<std::pair<std::string, double>>& patterns, std::string_view module) {
  for (const auto& [pattern, value] : patterns) {
    const RE2 compiled(StrCat("(.*\\.)?(", pattern, ")"), PatternOptions());
    if (RE2::FullMatch(re2::StringPiece(module.data(), module.size()), compiled)) return &value;
  }
  return nullptr;
}

std::string EscapeDots(std::string_view module) {
  std::string out;
  for (const char c : module) out += c == '.' ? std::string("\\.") : std::string(1, c);
  return out;
}

}  // namespace

absl::StatusOr<AdapterConfig> ReadAdapterConfig(std::string_view json, std::string_view name) {
  ASSIGN_OR_RETURN(const Json parsed, ParseJson(json, name));
  if (!parsed.is_object()) return absl::InvalidArgumentError(StrCat(name, ": is no JSON object"));
  return ConfigReader(parsed, name).Read();
}

ModuleScale ScaleOf(const AdapterConfig& config, std::string_view module) {
  ModuleScale out{config.rank, config.alpha, 0};
  if (const double* rank = Match(config.rank_pattern, module)) out.rank = *rank;
  if (const double* alpha = Match(config.alpha_pattern, module)) out.alpha = *alpha;
  out.scale = out.alpha / (config.rslora ? std::sqrt(out.rank) : out.rank);
  return out;
}

std::string WriteAdapterConfig(const AdapterConfigText& text) {
  const auto list = [](const std::vector<std::string>& values) { return values.empty() ? Json() : Json(values); };
  Json ranks = Json::object();
  for (const auto& [module, rank] : text.rank_pattern) ranks[EscapeDots(module)] = rank;
  Json json;
  json["alpha_pattern"] = ranks;
  json["auto_mapping"] = nullptr;
  json["base_model_name_or_path"] = text.base_model.empty() ? Json() : Json(text.base_model);
  json["bias"] = text.bias;
  json["fan_in_fan_out"] = text.fan_in_fan_out;
  json["inference_mode"] = true;
  json["init_lora_weights"] = true;
  json["layers_pattern"] = nullptr;
  json["layers_to_transform"] = nullptr;
  json["lora_alpha"] = text.alpha == std::floor(text.alpha) ? Json(static_cast<int64_t>(text.alpha)) : Json(text.alpha);
  json["lora_dropout"] = 0.0;
  json["modules_to_save"] = list(text.saved);
  json["peft_type"] = "LORA";
  json["r"] = text.rank;
  json["rank_pattern"] = ranks;
  json["revision"] = nullptr;
  // PEFT takes no empty list; this is its own word for "none".
  json["target_modules"] = text.targets.empty() ? Json("dummy-target-modules") : Json(text.targets);
  json["task_type"] = "CAUSAL_LM";
  json["use_dora"] = false;
  json["use_rslora"] = false;
  return DumpJson(json);
}

}  // namespace editd::formats
