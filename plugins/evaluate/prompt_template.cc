#include "plugins/evaluate/prompt_template.h"

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {

absl::StatusOr<PromptTemplate> PromptTemplate::Parse(std::string_view text) {
  PromptTemplate out;
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      plain += c;
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == c) {
      plain += c;
      ++at;
      continue;
    }
    const size_t end = text.find_first_of("{}", at + 1);
    if (c == '}' || end == std::string_view::npos || text[end] == '{') {
      return absl::InvalidArgumentError(
          StrCat("the brace at byte ", at, " has no partner; a brace that is meant is written twice"));
    }
    if (end == at + 1) {
      return absl::InvalidArgumentError(StrCat("the braces at byte ", at, " name no field; write {question}"));
    }
    if (!plain.empty()) out.parts_.push_back({std::move(plain), false});
    plain.clear();
    out.parts_.push_back({std::string(text.substr(at + 1, end - at - 1)), true});
    at = end;
  }
  if (!plain.empty()) out.parts_.push_back({std::move(plain), false});
  return out;
}

absl::StatusOr<std::string> PromptTemplate::Fill(
    const std::function<absl::StatusOr<std::string>(std::string_view name)>& field) const {
  std::string out;
  for (const Part& part : parts_) {
    if (!part.is_field) {
      out += part.text;
      continue;
    }
    ASSIGN_OR_RETURN(const std::string value, field(part.text));
    out += value;
  }
  return out;
}

}  // namespace editd::evaluate
