// A pattern of a Split or Replace: a string, or a regular expression.
//
// Immutable; any thread may search with it.
#ifndef EDITD_PLUGINS_LIB_TEXT_PATTERN_H_
#define EDITD_PLUGINS_LIB_TEXT_PATTERN_H_

#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "plugins/lib/text/regex.h"

namespace editd::text {

class Pattern {
 public:
  // `literal` is not empty.
  explicit Pattern(std::string literal) : value_(std::move(literal)) {}
  explicit Pattern(Regex regex) : value_(std::move(regex)) {}

  // The string; null for a regular expression.
  const std::string* literal() const { return std::get_if<std::string>(&value_); }

  // Calls found(begin, end) for each match, from the left; they are not empty and do not overlap.
  template <typename Found>
  void ForEach(std::string_view text, Found&& found) const {
    size_t begin, end;
    if (const std::string* wanted = literal()) {
      for (begin = text.find(*wanted); begin != std::string_view::npos; begin = text.find(*wanted, end)) {
        end = begin + wanted->size();
        found(begin, end);
      }
      return;
    }
    for (RegexMatcher matcher(&std::get<Regex>(value_), text); matcher.Next(&begin, &end);) found(begin, end);
  }

 private:
  std::variant<std::string, Regex> value_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_PATTERN_H_
