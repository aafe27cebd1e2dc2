#include "plugins/evaluate/answers.h"

#include <optional>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

absl::StatusOr<std::vector<generate::Answer>> AskSubject(const Subject& subject, const FileOf& file,
                                                         std::span<const generate::Prompt> prompts, AskForm form,
                                                         const std::function<absl::Status(uint64_t tokens)>& told) {
  std::optional<jinja::ChatTemplate> chat;
  if (!form.raw) {
    auto read = jinja::ChatTemplate::FromModel(file);
    if (absl::IsNotFound(read.status())) {
      return absl::InvalidArgumentError(
          StrCat(ToStd(read.status().message()), "; set raw: true to go on from prompts as they stand"));
    }
    if (!read.ok()) return read.status();
    chat = *std::move(read);
  }
  const jinja::ChatTemplate* const chat_or_null = chat.has_value() ? &*chat : nullptr;
  const nn::DecoderConfig& config = subject.decoder->config();
  form.settings.end_tokens =
      generate::EndTokens(file("generation_config.json"), config, *subject.tokenizer, chat_or_null);
  const generate::PromptForm prompt_form = {subject.tokenizer.get(),  chat_or_null, form.system,
                                            generate::Json::object(), subject.name, config.max_position_embeddings};
  std::vector<std::vector<int32_t>> encoded;
  for (const generate::Prompt& prompt : prompts) {
    encoded.emplace_back();
    ASSIGN_OR_RETURN(encoded.back(), generate::Encode(prompt, prompt_form));
  }
  nn::Stepper stepper(subject.decoder.get(), static_cast<int64_t>(subject.tokenizer->size()));
  const generate::Listener listener = {[](size_t, std::string_view) {}, told};
  generate::Times times;
  return generate::Generate(subject.decoder.get(), &stepper, *subject.tokenizer, encoded, form.settings, listener,
                            &times);
}

}  // namespace

absl::StatusOr<std::vector<generate::Answer>> Ask(const Subject& subject, const FileOf& file,
                                                  std::span<const generate::Prompt> prompts, AskForm form,
                                                  const std::function<absl::Status(uint64_t tokens)>& told) {
  auto answers = AskSubject(subject, file, prompts, std::move(form), told);
  if (!answers.ok()) return Annotate(answers.status(), subject.name);
  return answers;
}

}  // namespace editd::evaluate
