// Questions with choices, read from JSON lines.
//
// Choices are a list of texts; or an object with "text" and perhaps "label" (both lists), or with the letters A, B,
// ...; or, where the line has no field of choices and none was named, the line's own fields "A", "B", ... If each
// choice begins with its own letter ("A. ", "A) ", "A: "), the letters are taken off.
#ifndef EDITD_PLUGINS_EVALUATE_QUESTIONS_H_
#define EDITD_PLUGINS_EVALUATE_QUESTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "plugins/evaluate/data.h"
#include "plugins/evaluate/prompt_template.h"

namespace editd::evaluate {

inline constexpr size_t kMostChoices = 26;

inline char LetterOf(size_t choice) { return static_cast<char>('A' + choice); }

enum class AnswerForm { kByContent, kIndex, kLetter, kText };

struct QuestionForm {
  std::string question_field = "question", choices_field = "choices", answer_field = "answer";
  bool choices_named = false;  // By the user: the line's own letters do not serve.
  AnswerForm answer = AnswerForm::kByContent;
  PromptTemplate prompt;
};

struct Question {
  uint32_t file = 0;  // As the caller counts them.
  uint64_t line = 0;
  std::string prompt;
  std::vector<std::string> choices;
  size_t answer = 0;
};

// The question of a line. INVALID_ARGUMENT: a field is missing or is something else; the caller adds the line.
absl::StatusOr<Question> ReadQuestion(const simdjson::dom::object& line, const QuestionForm& form);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_QUESTIONS_H_
