#include "plugins/lib/jinja/chat_template.h"

#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

using Json = nlohmann::ordered_json;

// The text of the template inside a JSON file, or nothing.
std::string TemplateIn(const Json& json) {
  if (!json.is_object() || !json.contains("chat_template")) return "";
  const Json& value = json["chat_template"];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return "";
  for (const Json& one : value) {
    if (one.is_object() && one.value("name", Json()) == "default" && one.contains("template") &&
        one["template"].is_string()) {
      return one["template"].get<std::string>();
    }
  }
  return "";
}

}  // namespace

absl::StatusOr<ChatTemplate> ChatTemplate::FromModel(const std::function<std::string_view(std::string_view)>& file) {
  const auto read = [&](std::string_view name) {
    const std::string_view bytes = file(name);
    return bytes.empty() ? Json() : Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  };
  const Json config = read("tokenizer_config.json");
  std::string source(file("chat_template.jinja"));
  if (source.empty()) source = TemplateIn(config);
  if (source.empty()) source = TemplateIn(read("chat_template.json"));
  if (source.empty()) {
    return absl::NotFoundError(
        "the version has no chat template (chat_template.jinja, or \"chat_template\" in tokenizer_config.json)");
  }
  ChatTemplate out;
  ASSIGN_OR_RETURN(out.template_, Template::Parse(source));
  // Texts, or objects with "content", as older files have them.
  for (const Json& tokens : {read("special_tokens_map.json"), config}) {
    if (!tokens.is_object()) continue;
    for (const char* name :
         {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"}) {
      if (!tokens.contains(name)) continue;
      const Json& token = tokens[name];
      if (token.is_string()) out.special_tokens_[name] = token;
      if (token.is_object() && token.contains("content") && token["content"].is_string()) {
        out.special_tokens_[name] = token["content"];
      }
    }
  }
  return out;
}

absl::StatusOr<Rendered> ChatTemplate::Render(const Json& messages, bool reply, const Json& extra) const {
  Json variables = {
      {"messages", messages}, {"tools", nullptr}, {"documents", nullptr}, {"add_generation_prompt", reply}};
  variables.update(special_tokens_);
  if (extra.is_object()) variables.update(extra);
  return template_.Render(variables);
}

std::string ChatTemplate::eos_token() const {
  return special_tokens_.contains("eos_token") ? special_tokens_["eos_token"].get<std::string>() : "";
}

}  // namespace editd::jinja
