// The splitters of GPT-2, Llama 3 and Qwen 2 once more, for text that is known to be UTF-8: they give the pieces that
// PieceEnd gives (a test holds them to it), several times faster.
//
// Three things make them so: runs of ASCII letters are found sixteen bytes at a time; characters of two and three bytes
// are looked up in tables that fit the first cache, by their bytes; and nothing is checked that validity promises.
//
// Functions over constant tables; any thread may call them.
#ifndef EDITD_PLUGINS_LIB_TEXT_FAST_SPLITTER_H_
#define EDITD_PLUGINS_LIB_TEXT_FAST_SPLITTER_H_

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <cstdint>
#include <memory>
#include <vector>

#include "plugins/lib/text/splitter.h"
#include "plugins/lib/text/unicode.h"

namespace editd::text {

// Letter, number, space, or 0 for others, by the bytes of a character.
class ByteClasses {
 public:
  static const ByteClasses& Get();

  // The class of the character at `p`, and its length.
  uint8_t At(const char* p, int* length) const {
    const auto* s = reinterpret_cast<const unsigned char*>(p);
    const unsigned lead = s[0];
    if (lead < 0x80) {
      *length = 1;
      return ascii_[lead];
    }
    if (lead < 0xe0) {
      *length = 2;
      return two_[(lead & 0x1f) << 6 | (s[1] & 0x3f)];
    }
    if (lead < 0xf0) {
      *length = 3;
      return three_[pages_[(lead & 0x0f) << 6 | (s[1] & 0x3f)] << 6 | (s[2] & 0x3f)];
    }
    *length = 4;
    return all_[(lead & 0x07) << 18 | (s[1] & 0x3f) << 12 | (s[2] & 0x3f) << 6 | (s[3] & 0x3f)] & kMask;
  }

 private:
  static constexpr uint8_t kMask = kLetter | kNumber | kSpace;
  ByteClasses();

  uint8_t ascii_[128];
  uint8_t two_[2048];
  uint16_t pages_[1024];        // Of 64 characters each; equal ones are kept once.
  std::vector<uint8_t> three_;  // The pages' classes.
  const uint8_t* all_;
};

// The end of the run of letters from `p` on.
inline const char* LettersEnd(const ByteClasses& classes, const char* p, const char* end) {
  for (;;) {
#ifdef __SSE2__
    while (end - p >= 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
      const __m128i lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
      // Bytes from 0x80 on are negative, and below 'a'.
      const __m128i letters =
          _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
      const unsigned others = ~static_cast<unsigned>(_mm_movemask_epi8(letters)) & 0xffff;
      if (others != 0) {
        p += __builtin_ctz(others);
        break;
      }
      p += 16;
    }
#endif
    int length;
    while (p < end && static_cast<unsigned char>(*p) < 0x80) {
      if (!(classes.At(p, &length) & kLetter)) return p;
      ++p;
    }
    if (p == end) return p;
    do {
      if (classes.At(p, &length) != kLetter) return p;
      p += length;
    } while (p < end && static_cast<unsigned char>(*p) >= 0x80);
    if (p == end) return p;
  }
}

template <SplitterKind kind>
inline const char* FastPieceEnd(const ByteClasses& classes, const char* p, const char* end) {
  int length;
  const uint8_t first = classes.At(p, &length);
  const char* const second = p + length;
  if (first == kLetter) return LettersEnd(classes, second, end);
  if (*p == ' ' && second < end) {
    // Mostly a word after a space.
    if (classes.At(second, &length) == kLetter) return LettersEnd(classes, second + length, end);
    return PieceEnd(kind, p, end);
  }
  if constexpr (kind == SplitterKind::kQwen2) {
    if (first == kNumber) return second;
  }
  return PieceEnd(kind, p, end);
}

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_FAST_SPLITTER_H_
