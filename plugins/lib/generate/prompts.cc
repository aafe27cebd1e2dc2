#include "plugins/lib/generate/prompts.h"

#include <set>

#include "plugins/lib/text/unicode.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::generate {
namespace {

absl::Status CheckMessages(const Json& messages, const std::string& where) {
  if (!messages.is_array() || messages.empty()) {
    return absl::InvalidArgumentError(StrCat(where, ": \"messages\" is no list of messages"));
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].is_object() || !messages[i].contains("role") || !messages[i]["role"].is_string()) {
      return absl::InvalidArgumentError(StrCat(where, ": message ", i, " has no \"role\""));
    }
    if (!messages[i].contains("content")) {
      return absl::InvalidArgumentError(StrCat(where, ": message ", i, " has no \"content\""));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadLine(std::string_view line, const std::string& where, std::vector<Prompt>* prompts) {
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError(StrCat(where, ": is no JSON object"));
  if (json.contains("messages")) {
    RETURN_IF_ERROR(CheckMessages(json["messages"], where));
    prompts->push_back({where, "", json["messages"]});
    return absl::OkStatus();
  }
  for (const char* field : {"prompt", "text"}) {
    if (!json.contains(field)) continue;
    if (!json[field].is_string()) return absl::InvalidArgumentError(StrCat(where, ": \"", field, "\" is no text"));
    prompts->push_back({where, json[field].get<std::string>(), nullptr});
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(StrCat(where, ": has none of \"messages\", \"prompt\" and \"text\""));
}

bool Blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

// The next line from `*at` on, without its end; `*at` goes behind it.
std::string_view NextLine(std::string_view content, size_t* at) {
  const size_t begin = *at, end = std::min(content.find('\n', begin), content.size());
  *at = end + 1;
  return content.substr(begin, end - begin);
}

bool LooksLikeJsonLines(std::string_view content) {
  for (size_t at = 0; at < content.size();) {
    const std::string_view line = NextLine(content, &at);
    if (!Blank(line)) return Json::parse(line, nullptr, /*allow_exceptions=*/false).is_object();
  }
  return false;
}

}  // namespace

absl::Status ReadPromptFile(std::string_view where, std::string_view path, std::string_view content,
                            std::vector<Prompt>* prompts) {
  const size_t invalid = text::FirstInvalidUtf8(content);
  if (invalid < content.size()) {
    return absl::InvalidArgumentError(StrCat(where, ": \"", path, "\" is not UTF-8 at byte ", invalid));
  }
  // By the content: the store answers the same spec and bytes, whatever the file is called. The name only makes that an
  // error which was meant as JSON lines.
  if (!path.ends_with(".jsonl") && !LooksLikeJsonLines(content)) {
    prompts->push_back({std::string(where), std::string(content), nullptr});
    return absl::OkStatus();
  }
  size_t number = 0;
  for (size_t at = 0; at < content.size();) {
    const std::string_view line = NextLine(content, &at);
    ++number;
    if (Blank(line)) continue;
    RETURN_IF_ERROR(ReadLine(line, StrCat(where, ": line ", number, " of ", path), prompts));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> Encode(const Prompt& prompt, const PromptForm& form) {
  std::string text = prompt.text;
  const bool conversation = !prompt.messages.is_null();
  if (!conversation && text.empty()) {
    return absl::InvalidArgumentError(StrCat(prompt.where, ": is empty; there is nothing to go on from"));
  }
  if (form.chat == nullptr && conversation) {
    return absl::InvalidArgumentError(
        StrCat(prompt.where, ": a conversation needs the chat template, which raw: true leaves out"));
  }
  if (form.chat != nullptr) {
    Json messages = conversation ? prompt.messages : Json::array({{{"role", "user"}, {"content", text}}});
    RETURN_IF_ERROR(CheckMessages(messages, prompt.where));
    if (!form.system.empty() && messages[0]["role"] != "system") {
      messages.insert(messages.begin(), Json{{"role", "system"}, {"content", form.system}});
    }
    auto rendered = form.chat->Render(messages, /*reply=*/true, form.variables);
    if (!rendered.ok()) return Annotate(rendered.status(), prompt.where);
    text = std::move(rendered->text);
  }
  // A template writes its special tokens itself.
  const auto ids = form.tokenizer->Encode(text, /*add_special_tokens=*/form.chat == nullptr);
  if (ids.empty())
    return absl::InvalidArgumentError(StrCat(prompt.where, ": has no tokens; there is nothing to go on from"));
  if (static_cast<int64_t>(ids.size()) > form.context) {
    return absl::InvalidArgumentError(StrCat(prompt.where, ": ", ids.size(), " tokens are more than the ", form.context,
                                             " positions that ", form.model, " knows; shorten it"));
  }
  return std::vector<int32_t>(ids.begin(), ids.end());
}

std::vector<int32_t> EndTokens(std::string_view generation_config_json, const nn::DecoderConfig& config,
                               const text::Tokenizer& tokenizer, const jinja::ChatTemplate* chat) {
  const Json generation = Json::parse(generation_config_json, nullptr, /*allow_exceptions=*/false);
  std::set<int64_t> ends;
  const Json eos = generation.is_object() && generation.contains("eos_token_id") ? generation["eos_token_id"] : Json();
  for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
    if (id.is_number_integer()) ends.insert(id.get<int64_t>());
  }
  if (ends.empty()) ends.insert(config.eos_token_ids.begin(), config.eos_token_ids.end());
  if (chat != nullptr) {
    if (const auto id = tokenizer.IdOf(chat->eos_token()); id.has_value()) ends.insert(*id);
  }
  return {ends.begin(), ends.end()};
}

}  // namespace editd::generate
