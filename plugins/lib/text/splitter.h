// Splitters: they cut text into pre-tokens, within which BPE merges.
//
// Published tokenizers name a regular expression, and a handful are in most of them. Those are written here by hand,
// and recognised by their text, for a general engine is several times slower; it (regex.h) does the others. Every known
// pattern matches at each position, so the matches cover the text.
//
// Functions without state; any thread may call them.
#ifndef EDITD_PLUGINS_LIB_TEXT_SPLITTER_H_
#define EDITD_PLUGINS_LIB_TEXT_SPLITTER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace editd::text {

enum class SplitterKind : uint8_t {
  kNone,       // No cut.
  kDigits,     // Each numeric character on its own (Digits with individual_digits).
  kDigitRuns,  // Runs of numeric characters (Digits without).
  kGpt2,       // GPT-2; also ByteLevel with use_regex.
  kLlama3,     // Llama 3 and GPT-4 as converted: up to three digits together.
  kQwen2,      // Qwen 2 to 3: each digit on its own.
  kCl100k,     // tiktoken's cl100k_base with possessive quantifiers, as the reference's engine reads it.
};

// The splitter for the text of a pattern, if it is known.
std::optional<SplitterKind> SplitterForPattern(std::string_view pattern);

// The name in messages and tests: "gpt2".
std::string_view SplitterName(SplitterKind kind);

// The end of the piece that begins at `p` (p < end).
const char* PieceEnd(SplitterKind kind, const char* p, const char* end);

// The first place at or after `at` (which is not 0) between a character that is no white space and a space; the text's
// size if there is none. Every splitter cuts there, wherever the text begins or ends.
size_t SpaceAfterWord(std::string_view text, size_t at);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_SPLITTER_H_
