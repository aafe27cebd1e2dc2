// A model's chat template: which of its files has it, and the texts of its special tokens that the template may ask
// for.
//
// Immutable once read; may be shared by threads.
#ifndef EDITD_PLUGINS_LIB_JINJA_CHAT_TEMPLATE_H_
#define EDITD_PLUGINS_LIB_JINJA_CHAT_TEMPLATE_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "plugins/lib/jinja/template.h"
#include "storage/base/status.h"

namespace editd::jinja {

class ChatTemplate {
 public:
  // `file` gives a file of the model by name, empty if there is none. As transformers looks: chat_template.jinja goes
  // before "chat_template" in tokenizer_config.json (a text, or a list of which "default" is taken), then
  // chat_template.json. NOT_FOUND if there is no template.
  static absl::StatusOr<ChatTemplate> FromModel(const std::function<std::string_view(std::string_view name)>& file);

  // The text of a conversation, an array of {"role", "content", ...}; `extra` are further variables of the template
  // ("tools", "enable_thinking"). With `reply` the text ends where the model's answer begins.
  absl::StatusOr<Rendered> Render(const nlohmann::ordered_json& messages, bool reply,
                                  const nlohmann::ordered_json& extra) const;

  // "eos_token" of the tokenizer's files: what ends a turn. May be empty.
  std::string eos_token() const;

 private:
  Template template_;
  nlohmann::ordered_json special_tokens_ = nlohmann::ordered_json::object();
};

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_CHAT_TEMPLATE_H_
