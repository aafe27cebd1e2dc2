// Properties of code points, exactly as the reference tokenizers see them, and UTF-8.
//
// The splitters' letters, numbers and spaces are those of the reference's regular expression engine, of one Unicode
// release; its other parts follow other releases. tools/make_unicode_tables.py asks the reference for each code point
// and writes the tables. Immutable after the first use; any thread may read.
#ifndef EDITD_PLUGINS_LIB_TEXT_UNICODE_H_
#define EDITD_PLUGINS_LIB_TEXT_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace editd::text {

// Bits of a code point.
enum CodePointFlag : uint8_t {
  kLetter = 1,        // \p{L} in a splitter's pattern
  kNumber = 2,        // \p{N} in a splitter's pattern
  kSpace = 4,         // \s, everywhere
  kNumeric = 8,       // What the pre-tokenizer Digits isolates
  kWord = 16,         // \w next to an added token with single_word
  kNfcUnstable = 32,  // May change under NFC, or change what stands before it
};

// Flags by code point, 0x110000 of them.
const uint8_t* CodePointFlags();

// The code point at `p` (p < end), and its length in bytes in `*length`. A byte that begins no valid sequence is U+FFFD
// of length 1.
inline uint32_t DecodeUtf8(const char* p, const char* end, int* length) {
  const auto* s = reinterpret_cast<const unsigned char*>(p);
  const uint32_t lead = s[0];
  const ptrdiff_t left = end - p;
  *length = 1;
  if (lead < 0x80) return lead;
  if (lead < 0xc2) return 0xfffd;
  auto follows = [s](int i) { return (s[i] & 0xc0) == 0x80; };
  if (lead < 0xe0) {
    if (left < 2 || !follows(1)) return 0xfffd;
    *length = 2;
    return (lead & 0x1f) << 6 | (s[1] & 0x3f);
  }
  if (lead < 0xf0) {
    if (left < 3 || !follows(1) || !follows(2)) return 0xfffd;
    const uint32_t c = (lead & 0x0f) << 12 | (s[1] & 0x3f) << 6 | (s[2] & 0x3f);
    if (c < 0x800 || (c >= 0xd800 && c < 0xe000)) return 0xfffd;
    *length = 3;
    return c;
  }
  if (lead > 0xf4 || left < 4 || !follows(1) || !follows(2) || !follows(3)) return 0xfffd;
  const uint32_t c = (lead & 0x07) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f);
  if (c < 0x10000 || c > 0x10ffff) return 0xfffd;
  *length = 4;
  return c;
}

void AppendUtf8(uint32_t code_point, std::string* out);

// The position of the first byte that is not UTF-8; `text.size()` if there is none.
size_t FirstInvalidUtf8(std::string_view text);

// `bytes` with every maximal invalid part (as Rust's from_utf8_lossy cuts them) replaced by U+FFFD.
std::string Utf8Lossy(std::string_view bytes);

// OK, or INVALID_ARGUMENT: `"vi.txt" is not UTF-8 at byte 48213 (0xE1 0x20)`. `name` is put in quotes.
absl::Status CheckUtf8(std::string_view text, std::string_view name);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_UNICODE_H_
