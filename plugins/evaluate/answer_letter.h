// Which choice an answer in words means: "B", "(B)", "**B**", "Đáp án: B", "Chọn B", "The answer is B.".
//
// The rules, the first that finds a choice wins (METRICS.md has them with examples):
//   1. a letter that a cue and a link lead to ("đáp án ... là B", "answer: B", "\boxed{B}"); the last of them;
//   2. the answer begins with a letter;
//   3. the answer, or its line after a cue and a link, is a choice's text;
//   4. a letter right after a cue ("chọn B"), if all such letters are the same;
//   5. the only capital letter that stands alone.
// A letter stands alone: no letter or digit touches it. Two letters side by side ("A và C") are no choice.
#ifndef EDITD_PLUGINS_EVALUATE_ANSWER_LETTER_H_
#define EDITD_PLUGINS_EVALUATE_ANSWER_LETTER_H_

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace editd::evaluate {

// The choice that `answer` (UTF-8) means, or nothing. What a model thinks before "</think>" is no answer.
std::optional<size_t> ChoiceMeant(std::string_view answer, std::span<const std::string> choices);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_ANSWER_LETTER_H_
