// The patterns differ in few places, so two functions do: one for GPT-2's, one for its successors'.
//
// GPT-2 at each position: a contraction; else letters, or numbers, or other characters, each run with one space before
// it if there is one; else white space. Of white space before something else the last character is left (`\s+(?!\S)`),
// to be the space before a word or, failing that, a piece of its own.
//
// The successors: contractions in any case (U+017F too, which folds to s); letters with any one character before them
// that is no letter, number or line break; digits in limited groups; others with the line breaks after them; white
// space up to its last line break; then as above.
//
// `\p{N}{1,3}+` is possessive for tiktoken, but to the reference's engine (Ruby's syntax) it is a repetition of
// `\p{N}{1,3}`: all digits together. We follow the reference.
#include "plugins/lib/text/splitter.h"

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>

#include "plugins/lib/text/fast_splitter.h"
#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

struct KnownPattern {
  std::string_view text;
  SplitterKind kind;
};

constexpr KnownPattern kPatterns[] = {
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", SplitterKind::kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", SplitterKind::kGpt2},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     SplitterKind::kLlama3},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     SplitterKind::kLlama3},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     SplitterKind::kQwen2},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)",
     SplitterKind::kCl100k},
};

struct AsciiFlags {
  uint8_t flags[128] = {};
  constexpr AsciiFlags() {
    for (int c = 0; c < 128; ++c) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      const bool digit = c >= '0' && c <= '9';
      const bool space = c == ' ' || (c >= 9 && c <= 13);
      flags[c] = (letter ? kLetter : 0) | (digit ? kNumber | kNumeric : 0) | (space ? kSpace : 0);
    }
  }
};
constexpr AsciiFlags kAscii;

constexpr uint8_t kClass = kLetter | kNumber | kSpace;

// The flags of the character at `p` and its length.
inline uint8_t FlagsAt(const char* p, const char* end, int* length) {
  const auto lead = static_cast<unsigned char>(*p);
  if (lead < 0x80) {
    *length = 1;
    return kAscii.flags[lead];
  }
  static const uint8_t* const flags = CodePointFlags();
  return flags[DecodeUtf8(p, end, length)];
}

// The end of the run of characters from `p` on whose class (letter, number, space; 0 for others) is `wanted`.
inline const char* RunEnd(const char* p, const char* end, uint8_t wanted) {
  while (p < end) {
    int length;
    if ((FlagsAt(p, end, &length) & kClass) != wanted) break;
    p += length;
  }
  return p;
}

inline bool IsBreak(char c) { return c == '\n' || c == '\r'; }

// White space from `p` on, where no alternative before `\s+(?!\S)|\s+` matched.
const char* WhiteSpaceEnd(const char* p, const char* end) {
  const char* last = p;
  const char* q = p;
  while (q < end) {
    int length;
    if (!(FlagsAt(q, end, &length) & kSpace)) break;
    last = q;
    q += length;
  }
  return q == end || last == p ? q : last;
}

const char* Gpt2End(const char* p, const char* end) {
  if (*p == '\'') {
    const char* contraction = ContractionEnd<SplitterKind::kGpt2>(p, end);
    if (contraction != p) return contraction;
  }
  const char* q = *p == ' ' ? p + 1 : p;
  if (q < end) {
    int length;
    const uint8_t kind = FlagsAt(q, end, &length) & kClass;
    if (kind != kSpace) return RunEnd(q + length, end, kind);
  }
  return WhiteSpaceEnd(p, end);
}

// `digits`: how many go together, 0 for all. `to_end`: white space at the end of the text is one piece.
template <int digits, bool to_end>
const char* SuccessorEnd(const char* p, const char* end) {
  if (*p == '\'') {
    const char* contraction = ContractionEnd<SplitterKind::kLlama3>(p, end);
    if (contraction != p) return contraction;
  }
  int length;
  const uint8_t kind = FlagsAt(p, end, &length) & kClass;
  const char* const second = p + length;
  if (kind == kLetter) return RunEnd(second, end, kLetter);
  if (kind == kNumber) {
    if (digits == 0) return RunEnd(second, end, kNumber);
    const char* q = second;
    for (int i = 1; i < digits && q < end && (FlagsAt(q, end, &length) & kClass) == kNumber; ++i) q += length;
    return q;
  }
  int second_length = 0;
  const uint8_t second_kind = second < end ? FlagsAt(second, end, &second_length) & kClass : 0;
  if (second < end && !IsBreak(*p) && second_kind == kLetter) return RunEnd(second + second_length, end, kLetter);
  if (kind == 0 || (*p == ' ' && second < end && second_kind == 0)) {
    const char* q = RunEnd(second, end, 0);
    while (q < end && IsBreak(*q)) ++q;
    return q;
  }
  // White space: up to the last line break; else all of it at the end of the text; else all but its last character.
  const char* after_break = nullptr;
  const char* last = p;
  const char* q = p;
  while (q < end) {
    if (!(FlagsAt(q, end, &length) & kSpace)) break;
    last = q;
    q += length;
    if (IsBreak(*last)) after_break = q;
  }
  if (to_end && q == end) return q;
  if (after_break) return after_break;
  return q == end || last == p ? q : last;
}

template <bool runs>
const char* DigitsEnd(const char* p, const char* end) {
  int length;
  const bool numeric = FlagsAt(p, end, &length) & kNumeric;
  p += length;
  if (numeric && !runs) return p;
  while (p < end && static_cast<bool>(FlagsAt(p, end, &length) & kNumeric) == numeric) p += length;
  return p;
}

}  // namespace

std::optional<SplitterKind> SplitterForPattern(std::string_view pattern) {
  for (const KnownPattern& known : kPatterns) {
    if (known.text == pattern) return known.kind;
  }
  return std::nullopt;
}

std::string_view SplitterName(SplitterKind kind) {
  constexpr std::string_view kNames[] = {"none", "digits", "digit runs", "gpt2", "llama3", "qwen2", "cl100k"};
  return kNames[static_cast<int>(kind)];
}

const char* PieceEnd(SplitterKind kind, const char* p, const char* end) {
  switch (kind) {
    case SplitterKind::kNone:
      return end;
    case SplitterKind::kDigits:
      return DigitsEnd<false>(p, end);
    case SplitterKind::kDigitRuns:
      return DigitsEnd<true>(p, end);
    case SplitterKind::kGpt2:
      return Gpt2End(p, end);
    case SplitterKind::kLlama3:
      return SuccessorEnd<3, false>(p, end);
    case SplitterKind::kQwen2:
      return SuccessorEnd<1, false>(p, end);
    case SplitterKind::kCl100k:
      return SuccessorEnd<0, true>(p, end);
  }
  return end;
}

size_t SpaceAfterWord(std::string_view text, size_t at) {
  for (at = text.find(' ', std::max<size_t>(at, 1)); at != std::string_view::npos; at = text.find(' ', at + 1)) {
    size_t before = at - 1;
    while (before > 0 && at - before < 4 && (text[before] & 0xc0) == 0x80) --before;
    int length;
    if (!(FlagsAt(text.data() + before, text.data() + at, &length) & kSpace)) return at;
  }
  return text.size();
}

const ByteClasses& ByteClasses::Get() {
  static const auto* const classes = new ByteClasses;
  return *classes;
}

ByteClasses::ByteClasses() : all_(CodePointFlags()) {
  for (int c = 0; c < 128; ++c) ascii_[c] = all_[c] & kMask;
  for (int c = 0; c < 2048; ++c) two_[c] = all_[c] & kMask;
  std::map<std::string, uint16_t> known;
  for (int page = 0; page < 1024; ++page) {
    std::string bytes;
    for (int c = page << 6; c < (page + 1) << 6; ++c) bytes.push_back(static_cast<char>(all_[c] & kMask));
    const auto [it, fresh] = known.emplace(bytes, static_cast<uint16_t>(three_.size() >> 6));
    if (fresh) three_.insert(three_.end(), bytes.begin(), bytes.end());
    pages_[page] = it->second;
  }
}

}  // namespace editd::text
