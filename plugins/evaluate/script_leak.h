// Which tokens belong to other scripts than those that are allowed: what a model that was trimmed to a few languages
// should no longer say.
//
// A character is allowed if its Unicode script is, or is Common or Inherited: digits, punctuation, symbols, emoji,
// marks. (That is also how the plugin trim keeps tokens by script.) A token is outside if a character in it is not
// allowed. Tokens may end or begin within a character: bytes that begin one are outside if none of the characters that
// they can begin is allowed; bytes that end one say nothing. Tokens without text (special ones, rows without a token)
// are not outside.
#ifndef EDITD_PLUGINS_EVALUATE_SCRIPT_LEAK_H_
#define EDITD_PLUGINS_EVALUATE_SCRIPT_LEAK_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::evaluate {

class AllowedScripts {
 public:
  // Long or short names. INVALID_ARGUMENT names one that is no script, and the nearest that is.
  static absl::StatusOr<AllowedScripts> Of(std::span<const std::string> names);

  bool Allows(uint32_t code_point) const;

 private:
  std::vector<bool> scripts_;  // By script.
};

// Of a token alone.
bool IsOutside(std::string_view bytes, const AllowedScripts& allowed);

// Of a vocabulary's first `rows` rows, ascending.
std::vector<int32_t> RowsOutside(const text::Tokenizer& tokenizer, int64_t rows, const AllowedScripts& allowed);

// Of tokens that a model wrote, in their order: how many have text, and how many of these have a part of a character
// that is not allowed. What a character is, all of its bytes tell, of whichever tokens they are.
struct WrittenTokens {
  uint64_t tokens = 0, outside = 0;
};
WrittenTokens CountOutside(const text::Tokenizer& tokenizer, std::span<const int32_t> written,
                           const AllowedScripts& allowed);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SCRIPT_LEAK_H_
