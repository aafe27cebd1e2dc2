// What goes before an answer: a text with the names of fields in braces, "Question: {question}\nAnswer:".
//
// {name} stands for a field; {{ and }} for braces. Immutable.
#ifndef EDITD_PLUGINS_EVALUATE_PROMPT_TEMPLATE_H_
#define EDITD_PLUGINS_EVALUATE_PROMPT_TEMPLATE_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace editd::evaluate {

class PromptTemplate {
 public:
  // INVALID_ARGUMENT says at which byte a brace has no partner or no name.
  static absl::StatusOr<PromptTemplate> Parse(std::string_view text);

  // `field` gives what a name stands for; its error is returned.
  absl::StatusOr<std::string> Fill(
      const std::function<absl::StatusOr<std::string>(std::string_view name)>& field) const;

 private:
  struct Part {
    std::string text;
    bool is_field;
  };
  std::vector<Part> parts_;
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_PROMPT_TEMPLATE_H_
