#include "plugins/evaluate/questions.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

absl::Status Error(const std::string& what) { return absl::InvalidArgumentError(what); }

// A text, or a number or truth value as JSON writes it.
std::optional<std::string> TextOf(const element& value) {
  std::string_view text;
  if (!value.get(text)) return std::string(text);
  if (value.is_number() || value.is_bool()) return std::string(simdjson::minify(value));
  return std::nullopt;
}

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 60;
  if (text.size() <= kShown) return StrCat("\"", text, "\"");
  size_t end = kShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return StrCat("\"", text.substr(0, end), "...\"");
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

struct Choices {
  std::vector<std::string> texts;
  std::vector<std::string> labels;  // Empty: letters.
};

absl::StatusOr<std::vector<std::string>> TextsOf(const array& list, const std::string& where) {
  std::vector<std::string> out;
  for (const element& entry : list) {
    std::optional<std::string> text = TextOf(entry);
    if (!text.has_value()) return Error(StrCat(where, "[", out.size(), "] is no text"));
    out.push_back(*std::move(text));
  }
  return out;
}

// The fields "A", "B", ... of an object, as far as they go.
absl::StatusOr<std::vector<std::string>> Lettered(const object& from) {
  std::vector<std::string> out;
  for (size_t i = 0; i < kMostChoices; ++i) {
    const char letter = LetterOf(i);
    element value;
    if (from.at_key(std::string_view(&letter, 1)).get(value)) break;
    std::optional<std::string> text = TextOf(value);
    if (!text.has_value()) return Error(StrCat("the choice \"", std::string(1, letter), "\" is no text"));
    out.push_back(*std::move(text));
  }
  return out;
}

absl::StatusOr<Choices> ChoicesOf(const object& line, const QuestionForm& form) {
  const std::string field = StrCat("\"", form.choices_field, "\"");
  Choices out;
  element value;
  array list;
  object fields;
  if (line.at_key(form.choices_field).get(value)) {
    if (!form.choices_named) {
      ASSIGN_OR_RETURN(out.texts, Lettered(line));
    }
    if (out.texts.empty()) {
      return Error(StrCat("there is no field ", field, "; name the field of the choices in choices_field"));
    }
    return out;
  }
  if (!value.get(list)) {
    ASSIGN_OR_RETURN(out.texts, TextsOf(list, field));
  } else if (!value.get(fields) && !fields.at_key("text").get(list)) {
    ASSIGN_OR_RETURN(out.texts, TextsOf(list, StrCat(field, ".text")));
    array labels;
    if (!fields.at_key("label").get(labels)) {
      ASSIGN_OR_RETURN(out.labels, TextsOf(labels, StrCat(field, ".label")));
      if (out.labels.size() != out.texts.size()) {
        return Error(StrCat(field, " has ", out.texts.size(), " texts and ", out.labels.size(), " labels"));
      }
    }
  } else if (!value.get(fields)) {
    ASSIGN_OR_RETURN(out.texts, Lettered(fields));
    if (out.texts.size() != fields.size()) {
      return Error(StrCat(field, " is an object with other fields than \"A\", \"B\", ... in a row"));
    }
  } else {
    return Error(StrCat(field, " is neither a list of choices nor an object with them"));
  }
  return out;
}

// Takes "A. " from the first, "B. " from the second, ... if all have theirs.
void TakeLettersOff(std::vector<std::string>* texts) {
  const auto has_letter = [&](size_t i) {
    const std::string& text = (*texts)[i];
    return text.size() > 2 && text[0] == LetterOf(i) && std::string_view(".):").find(text[1]) != std::string_view::npos;
  };
  for (size_t i = 0; i < texts->size(); ++i) {
    if (!has_letter(i)) return;
  }
  for (std::string& text : *texts) text = std::string(Trimmed(std::string_view(text).substr(2)));
}

// What the text of an answer may mean: choices, each once.
std::vector<size_t> Meanings(std::string_view answer, const Choices& choices, AnswerForm form) {
  std::vector<size_t> out;
  const auto add = [&](size_t choice) {
    if (std::find(out.begin(), out.end(), choice) == out.end()) out.push_back(choice);
  };
  const bool any = form == AnswerForm::kByContent;
  const size_t count = choices.texts.size();
  if (any || form == AnswerForm::kText) {
    for (size_t i = 0; i < count; ++i) {
      if (Trimmed(choices.texts[i]) == answer) add(i);
    }
  }
  if (any || form == AnswerForm::kLetter) {
    // "B", "b", "(B)", "B.": what stands around a letter does not matter.
    std::string_view bare = answer;
    while (!bare.empty() && bare.front() == '(') bare.remove_prefix(1);
    while (!bare.empty() && std::string_view(".):").find(bare.back()) != std::string_view::npos) bare.remove_suffix(1);
    bool labelled = false;
    for (size_t i = 0; i < choices.labels.size(); ++i) {
      if (Trimmed(choices.labels[i]) != bare) continue;
      add(i);
      labelled = true;
    }
    if (!labelled && bare.size() == 1) {
      const size_t letter = static_cast<size_t>((bare[0] & ~0x20) - 'A');
      if (absl::ascii_isalpha(static_cast<unsigned char>(bare[0])) && letter < count) add(letter);
    }
  }
  uint64_t number = 0;
  if ((form == AnswerForm::kIndex || (any && out.empty())) && absl::SimpleAtoi(ToAbsl(answer), &number) &&
      number < count) {
    add(number);
  }
  return out;
}

absl::StatusOr<size_t> AnswerOf(const object& line, const Choices& choices, const QuestionForm& form) {
  const std::string field = StrCat("\"", form.answer_field, "\"");
  element value;
  if (line.at_key(form.answer_field).get(value)) {
    return Error(StrCat("there is no field ", field, "; name the field of the answer in answer_field"));
  }
  const size_t count = choices.texts.size();
  int64_t index = 0;
  const bool number_counts =
      form.answer == AnswerForm::kIndex || (form.answer == AnswerForm::kByContent && choices.labels.empty());
  if (value.is_number() && number_counts) {
    if (value.get(index) || index < 0 || index >= static_cast<int64_t>(count)) {
      return Error(StrCat(field, " is ", std::string(simdjson::minify(value)), ", which is no choice: there are ",
                          count, ", counted from 0"));
    }
    return static_cast<size_t>(index);
  }
  const std::optional<std::string> text = TextOf(value);
  if (!text.has_value()) return Error(StrCat(field, " is neither a number nor a text"));
  const std::vector<size_t> meanings = Meanings(Trimmed(*text), choices, form.answer);
  if (meanings.empty()) {
    return Error(StrCat(field, " is ", Quoted(*text), ", which is none of the ", count, " choices"));
  }
  if (meanings.size() > 1) {
    return Error(StrCat(field, " is ", Quoted(*text), ", which may mean choice ", std::string(1, LetterOf(meanings[0])),
                        " or ", std::string(1, LetterOf(meanings[1])), "; set answer_form"));
  }
  return meanings[0];
}

}  // namespace

absl::StatusOr<Question> ReadQuestion(const object& line, const QuestionForm& form) {
  Question out;
  ASSIGN_OR_RETURN(Choices choices, ChoicesOf(line, form));
  if (choices.texts.size() < 2 || choices.texts.size() > kMostChoices) {
    return Error(StrCat("a question has 2 to ", kMostChoices, " choices; this one has ", choices.texts.size()));
  }
  TakeLettersOff(&choices.texts);
  for (size_t i = 0; i < choices.texts.size(); ++i) {
    if (choices.texts[i].empty()) return Error(StrCat("choice ", std::string(1, LetterOf(i)), " is empty"));
  }
  ASSIGN_OR_RETURN(out.answer, AnswerOf(line, choices, form));
  out.choices = std::move(choices.texts);
  const auto field = [&](std::string_view name) -> absl::StatusOr<std::string> {
    if (name == "choices") {
      std::string list;
      for (size_t i = 0; i < out.choices.size(); ++i) {
        StrAppend(&list, i == 0 ? "" : "\n", std::string(1, LetterOf(i)), ". ", out.choices[i]);
      }
      return list;
    }
    const std::string_view key = name == "question" ? std::string_view(form.question_field) : name;
    element value;
    if (line.at_key(key).get(value)) {
      return Error(StrCat("there is no field \"", key, "\", which the prompt asks for",
                          name == "question" ? "; name the field of the question in question_field" : ""));
    }
    std::optional<std::string> text = TextOf(value);
    if (!text.has_value()) return Error(StrCat("\"", key, "\" is no text"));
    return *std::move(text);
  };
  ASSIGN_OR_RETURN(out.prompt, form.prompt.Fill(field));
  return out;
}

}  // namespace editd::evaluate
