// Which texts and tokens are written in a few scripts: what trim keeps, and what script leak counts.
//
// A character is allowed if its Unicode script is, or is Common or Inherited: digits, punctuation, symbols, emoji,
// marks. A token is outside if a character in it is not allowed. Tokens may end or begin within a character: bytes that
// begin one are outside if none of the characters that they can begin is allowed; bytes that end one say nothing.
//
// Constant; any thread may read.
#ifndef EDITD_PLUGINS_LIB_TEXT_ALLOWED_SCRIPTS_H_
#define EDITD_PLUGINS_LIB_TEXT_ALLOWED_SCRIPTS_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace editd::text {

class AllowedScripts {
 public:
  // Long or short names. INVALID_ARGUMENT names one that is no script, and the nearest that is.
  static absl::StatusOr<AllowedScripts> Of(std::span<const std::string> names);

  bool Allows(uint32_t code_point) const;

 private:
  std::vector<bool> scripts_;  // By script.
};

// Calls outside(begin, end) for the bytes of each character that is not allowed, or whose beginning tells that.
void ForEachOutside(std::string_view bytes, const AllowedScripts& allowed,
                    const std::function<void(size_t begin, size_t end)>& outside);

// Of a token alone.
bool IsOutside(std::string_view bytes, const AllowedScripts& allowed);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_ALLOWED_SCRIPTS_H_
