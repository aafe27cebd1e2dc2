#include "plugins/merge/files.h"

#include <map>
#include <set>

#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/json.h"
#include "plugins/merge/methods.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

using formats::Json;

constexpr char kTemplateFile[] = "chat_template.jinja";
// Names rows by the ids of one parent, which a merge's rows have not.
constexpr char kIdMapFile[] = "editd_id_map.i32";

Json Pair(size_t model, std::string_view tensor) { return Json::array({model, std::string(tensor)}); }

// Files that belong to the tokens: those of the vocabulary's owner.
bool IsTokenizerFile(std::string_view name) {
  static const std::set<std::string_view> kNames = {
      "tokenizer.json",    "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
      "added_tokens.json", "tokenizer.model",       "chat_template.json",      kTemplateFile};
  return kNames.contains(name);
}

absl::StatusOr<Json> ReadObject(const File& file) {
  ASSIGN_OR_RETURN(Json json, formats::ParseJson(file.content, file.name));
  if (!json.is_object()) return absl::InvalidArgumentError(StrCat(file.name, ": is no object"));
  return json;
}

// The kind of each layer where it follows from the layer's number: what config.json leaves out is written, because the
// numbers change.
std::vector<std::string> ImpliedLayerTypes(const Json& config, int64_t layers) {
  const std::string type = config.value("model_type", "");
  int64_t global_every = 0;
  if (type == "gemma2") global_every = 2;
  if (type == "gemma3_text") {
    const auto pattern = config.find("sliding_window_pattern");
    global_every = pattern != config.end() && pattern->is_number_integer() ? pattern->get<int64_t>() : 6;
  }
  int64_t global_below = 0;
  if (type == "qwen2" && config.value("use_sliding_window", Json(false)) == Json(true)) {
    const auto below = config.find("max_window_layers");
    global_below = below != config.end() && below->is_number_integer() ? below->get<int64_t>() : 28;
    global_every = layers + global_below + 1;
  }
  std::vector<std::string> types;
  for (int64_t i = 0; global_every > 0 && i < layers; ++i) {
    types.emplace_back((i + 1) % global_every == 0 || i < global_below ? "full_attention" : "sliding_attention");
  }
  return types;
}

// config.json for layers that were taken from elsewhere: `from` has for each layer the one that it stands for.
void RenumberLayers(const std::vector<int64_t>& from, Json* config) {
  const auto count = config->find("num_hidden_layers");
  const int64_t before = count != config->end() && count->is_number_integer() ? count->get<int64_t>() : 0;
  std::vector<std::string> types;
  const auto listed = config->find("layer_types");
  if (listed != config->end() && listed->is_array()) {
    for (const Json& type : *listed) types.push_back(type.is_string() ? type.get<std::string>() : "");
  } else {
    types = ImpliedLayerTypes(*config, before);
  }
  if (!types.empty()) {
    Json& written = (*config)["layer_types"] = Json::array();
    for (const int64_t layer : from) {
      written.push_back(layer < static_cast<int64_t>(types.size()) ? types[static_cast<size_t>(layer)] : types.back());
    }
  }
  (*config)["num_hidden_layers"] = from.size();
}

// What describes the text model: of a model with other parts too (Gemma 3's) the part of that name.
Json* TextConfig(Json* config) {
  const auto part = config->find("text_config");
  return part != config->end() && part->is_object() ? &*part : config;
}

// Takes over what names token ids.
void TakeIds(const Json& from, Json* to) {
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "decoder_start_token_id"}) {
    if (from.contains(key)) {
      (*to)[key] = from[key];
    } else {
      to->erase(key);
    }
  }
}

// The chat template of a model; empty if it has none.
std::string TemplateOf(const Model& model) {
  if (const File* const file = model.FindFile(kTemplateFile)) return std::string(file->content);
  const File* const config = model.FindFile("tokenizer_config.json");
  if (config == nullptr) return "";
  const auto json = formats::ParseJson(config->content, config->name);
  if (!json.ok() || !json->is_object() || !json->contains("chat_template")) return "";
  const Json& text = (*json)["chat_template"];
  return text.is_string() ? text.get<std::string>() : "";
}

// The template that the spec asks for.
absl::StatusOr<std::string> ChosenTemplate(const v1::MergeSpec& spec, const Job& job) {
  const std::string& wanted = spec.chat_template();
  if (wanted.find('{') != std::string::npos) return wanted;
  if (wanted != "auto") {
    const std::string text = TemplateOf(job.model(FindInput(job, wanted).value_or(0)));
    if (!text.empty()) return text;
    return absl::InvalidArgumentError(StrCat("params.chat_template: \"", wanted, "\" has no chat template"));
  }
  std::map<std::string, size_t> counts;
  std::string best;
  for (const Model& model : job.models()) ++counts[TemplateOf(model)];
  for (const Model& model : job.models()) {  // The first, of equally many.
    const std::string text = TemplateOf(model);
    if (!text.empty() && (best.empty() || counts[text] > counts[best])) best = text;
  }
  return best;
}

class Writer {
 public:
  Writer(const MergePlan& plan, const Vocabulary* vocabulary, Job* job)
      : plan_(plan),
        spec_(plan.expansion->spec),
        vocabulary_(vocabulary),
        job_(*job),
        donor_(job->model(plan.layout.donor)),
        owner_(vocabulary == nullptr ? donor_ : job->model(vocabulary->owner)) {}

  absl::Status Write() {
    std::string chat;
    if (!spec_.chat_template().empty()) {
      ASSIGN_OR_RETURN(chat, ChosenTemplate(spec_, job_));
    }
    for (const File& file : owner_.files) {
      if (IsTokenizerFile(file.name)) RETURN_IF_ERROR(WriteTokenizerFile(file, chat));
    }
    if (!chat.empty()) RETURN_IF_ERROR(job_.AddFile(kTemplateFile, chat));
    for (const File& file : donor_.files) {
      if (IsTokenizerFile(file.name) || file.name == kRecordFile || file.name == kIdMapFile) continue;
      RETURN_IF_ERROR(WriteOther(file));
    }
    RETURN_IF_ERROR(job_.AddFile(kRecordFile, Record(job_, plan_)));
    return WriteAttributes();
  }

 private:
  absl::Status WriteTokenizerFile(const File& file, const std::string& chat) {
    if (file.name == "tokenizer.json" && vocabulary_ != nullptr && !vocabulary_->tokenizer_json.empty()) {
      return job_.AddFile(file.name, vocabulary_->tokenizer_json);
    }
    if (chat.empty()) return job_.ReuseFile(file);
    if (file.name == kTemplateFile || file.name == "chat_template.json") return absl::OkStatus();
    if (file.name != "tokenizer_config.json") return job_.ReuseFile(file);
    ASSIGN_OR_RETURN(Json config, ReadObject(file));
    if (config.erase("chat_template") == 0) return job_.ReuseFile(file);
    return job_.AddFile(file.name, formats::DumpJson(config));
  }

  absl::Status WriteOther(const File& file) {
    const bool is_config = file.name == "config.json";
    const bool other_ids = vocabulary_ != nullptr && &owner_ != &donor_;
    const std::optional<DType> type = DTypeFromName(spec_.out_dtype());
    const bool changes = is_config ? type.has_value() || plan_.layout.unties_head || vocabulary_ != nullptr ||
                                         !plan_.layout.layers.empty()
                                   : other_ids && file.name == "generation_config.json";
    if (!changes) return job_.ReuseFile(file);
    ASSIGN_OR_RETURN(Json config, ReadObject(file));
    if (other_ids) {
      const File* const theirs = owner_.FindFile(file.name);
      if (theirs != nullptr) {
        ASSIGN_OR_RETURN(const Json from, ReadObject(*theirs));
        TakeIds(from, &config);
      }
    }
    if (is_config) {
      if (type.has_value()) formats::SetConfigDType(*type, &config);
      if (plan_.layout.unties_head) config["tie_word_embeddings"] = false;
      Json* const text = TextConfig(&config);
      if (vocabulary_ != nullptr) (*text)["vocab_size"] = vocabulary_->rows;
      if (!plan_.layout.layers.empty()) RenumberLayers(plan_.layout.layers, text);
    }
    return job_.AddFile(file.name, formats::DumpJson(config));
  }

  absl::Status WriteAttributes() {
    std::map<std::string, std::string> attributes;
    for (const auto& [key, value] : donor_.attributes) attributes.emplace(key, value);
    if (plan_.layout.unties_head) attributes["vocab.tied"] = "false";
    if (vocabulary_ != nullptr) {
      attributes["vocab.rows"] = StrCat(vocabulary_->rows);
      attributes["vocab.used"] = StrCat(vocabulary_->used);
    }
    for (const auto& [key, value] : attributes) RETURN_IF_ERROR(job_.SetAttribute(key, value));
    return absl::OkStatus();
  }

  const MergePlan& plan_;
  const v1::MergeSpec& spec_;
  const Vocabulary* const vocabulary_;
  Job& job_;
  const Model& donor_;
  const Model& owner_;
};

}  // namespace

std::string Record(const Job& job, const MergePlan& plan) {
  const v1::MergeSpec& spec = plan.expansion->spec;
  Json record = {{"format", 1}, {"method", MethodName(spec.method())}};
  Json& inputs = record["inputs"] = Json::array();
  for (const Model& model : job.models()) {
    inputs.push_back({{"name", std::string(NameOf(model))}, {"version", std::string(model.version)}});
  }
  std::map<std::string_view, Json> entries;
  for (const auto& tensor : plan.tensors) {
    Json& entry = entries[tensor->row->name];
    if (tensor->reused != nullptr) {
      entry["same"] = Pair(tensor->reused->input, tensor->reused->name);
      continue;
    }
    if (tensor->differs) entry["base"] = Pair(tensor->row->base->model, tensor->row->base->tensor->name);
    Json& from = entry["from"] = Json::array();
    for (const Take& take : tensor->takes) from.push_back(Pair(take.model, take.tensor->name));
    if (!TraitsOf(spec.method())->weights) continue;
    Json& weights = entry["weights"] = Json::array();
    for (const Part& part : tensor->plan.parts) weights.push_back(part.weight);
  }
  Json tensors = Json::object();  // An ordered map looks each key up in turn; it is filled without.
  auto& members = tensors.get_ref<Json::object_t&>();
  for (auto& [name, entry] : entries) members.Container::emplace_back(std::string(name), std::move(entry));
  record["tensors"] = std::move(tensors);
  return formats::DumpJson(record);
}

absl::Status WriteFiles(const MergePlan& plan, const Vocabulary* vocabulary, Job* job) {
  return Writer(plan, vocabulary, job).Write();
}

}  // namespace editd::merge
