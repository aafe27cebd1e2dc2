// Prompts: from what a spec says to token ids.
#ifndef EDITD_PLUGINS_LIB_GENERATE_PROMPTS_H_
#define EDITD_PLUGINS_LIB_GENERATE_PROMPTS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/jinja/chat_template.h"
#include "plugins/lib/nn/config.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::generate {

using Json = nlohmann::ordered_json;

// One prompt as it was given, and where, for messages.
struct Prompt {
  std::string where;  // "params.prompt[0]", "params.file[1].path: line 3 of q.jsonl"
  std::string text;   // Or:
  Json messages;      // An array; null if there is a text.
};

// Adds the prompts of a file: of JSON lines (the first line that is not blank is an object) "messages", "prompt" or
// "text", else the whole text. INVALID_ARGUMENT tells the line; also if a name ends in .jsonl and it is none.
absl::Status ReadPromptFile(std::string_view where, std::string_view path, std::string_view content,
                            std::vector<Prompt>* prompts);

// How prompts become token ids.
struct PromptForm {
  const text::Tokenizer* tokenizer;
  const jinja::ChatTemplate* chat;  // Null: texts are taken as they stand, and a conversation is an error.
  std::string system;               // Before conversations that have none; may be empty.
  Json variables;                   // Of the template.
  std::string model;                // For messages.
  int64_t context;                  // Tokens that the model knows.
};

// INVALID_ARGUMENT if a prompt is empty, is longer than the context or is refused by the template; says which.
absl::StatusOr<std::vector<int32_t>> Encode(const Prompt& prompt, const PromptForm& form);

// What ends an answer: generation_config.json's "eos_token_id" goes before config.json's, as in transformers; a chat's
// turns end with the tokenizer's eos, too. `chat` may be null.
std::vector<int32_t> EndTokens(std::string_view generation_config_json, const nn::DecoderConfig& config,
                               const text::Tokenizer& tokenizer, const jinja::ChatTemplate* chat);

}  // namespace editd::generate

#endif  // EDITD_PLUGINS_LIB_GENERATE_PROMPTS_H_
