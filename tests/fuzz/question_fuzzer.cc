// Questions from anywhere: a prompt, and after the first line's end JSON lines. What is read keeps its promises, and
// what is not says why. The whole is an answer to them, too.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "plugins/evaluate/answer_letter.h"
#include "plugins/evaluate/questions.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace editd::evaluate;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(text.find('\n'), text.size());
  if (!editd::IsUtf8(text.substr(0, end))) return 0;  // Protobuf lets no other string into a spec.
  QuestionForm form;
  auto prompt = PromptTemplate::Parse(text.substr(0, end));
  if (prompt.ok()) {
    form.prompt = *std::move(prompt);
  } else if (prompt.status().message().empty()) {
    __builtin_trap();
  }
  const absl::Status read =
      ForEachJsonLine({text.substr(end), "q"}, [&](uint64_t, const simdjson::dom::object& line) -> absl::Status {
        for (const AnswerForm answer :
             {AnswerForm::kByContent, AnswerForm::kIndex, AnswerForm::kLetter, AnswerForm::kText}) {
          form.answer = answer;
          const auto question = ReadQuestion(line, form);
          if (!question.ok()) {
            if (!editd::IsUtf8(editd::ToStd(question.status().message())) || question.status().message().empty()) {
              __builtin_trap();
            }
            continue;
          }
          if (question->choices.size() < 2 || question->choices.size() > kMostChoices) __builtin_trap();
          if (question->answer >= question->choices.size()) __builtin_trap();
          for (const std::string& choice : question->choices) {
            if (choice.empty()) __builtin_trap();
          }
          if (ChoiceMeant(text, question->choices).value_or(0) >= question->choices.size()) __builtin_trap();
        }
        return absl::OkStatus();
      });
  if (!read.ok() && read.message().empty()) __builtin_trap();
  return 0;
}
