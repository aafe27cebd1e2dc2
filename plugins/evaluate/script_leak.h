// Which tokens belong to other scripts than those that are allowed: what a model that was trimmed to a few languages
// should no longer say.
//
// What is outside says allowed_scripts.h. Tokens without text (special ones, rows without a token) are not.
#ifndef EDITD_PLUGINS_EVALUATE_SCRIPT_LEAK_H_
#define EDITD_PLUGINS_EVALUATE_SCRIPT_LEAK_H_

#include <cstdint>
#include <span>
#include <vector>

#include "plugins/lib/text/allowed_scripts.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::evaluate {

// Of a vocabulary's first `rows` rows, ascending.
std::vector<int32_t> RowsOutside(const text::Tokenizer& tokenizer, int64_t rows, const text::AllowedScripts& allowed);

// Of tokens that a model wrote, in their order: how many have text, and how many of these have a part of a character
// that is not allowed. What a character is, all of its bytes tell, of whichever tokens they are.
struct WrittenTokens {
  uint64_t tokens = 0, outside = 0;
};
WrittenTokens CountOutside(const text::Tokenizer& tokenizer, std::span<const int32_t> written,
                           const text::AllowedScripts& allowed);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SCRIPT_LEAK_H_
