// The splitters of GPT-2, Llama 3 and Qwen 2 once more, for text that is known to be UTF-8: they give the pieces that
// PieceEnd gives (a test holds them to it), many times faster, for all pieces of sixty-four bytes are found at once.
//
// What each byte is (a letter, a space, ...) stands in words of sixty-four bits, one word a class, and where pieces end
// follows from these by shifting and masking, for the patterns look no further than a run and its neighbours. An
// addition walks along a run: its carry comes out behind the run's end. Comparing sixteen bytes at a time makes the
// words; characters beyond ASCII are looked up in tables that fit the first cache, by their bytes.
//
// A window begins where a piece does, so nothing is carried from one to the next; the last piece of a window, which
// may go on behind it, is found again at the beginning of the next. What is rare (numbers and white space beyond ASCII,
// pieces longer than a window) is left to PieceEnd.
//
// Functions over constant tables; any thread may call them.
#ifndef EDITD_PLUGINS_LIB_TEXT_FAST_SPLITTER_H_
#define EDITD_PLUGINS_LIB_TEXT_FAST_SPLITTER_H_

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cstdint>
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

// The end of a contraction at `p`, an apostrophe; `p` if there is none. GPT-2's are in small letters, the others' in
// any case.
template <SplitterKind kind>
inline const char* ContractionEnd(const char* p, const char* end) {
  if (end - p < 2) return p;
  constexpr bool kAnyCase = kind != SplitterKind::kGpt2;
  const auto lower = [](char c) { return kAnyCase && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; };
  const char next = lower(p[1]);
  if (next == 's' || next == 't' || next == 'm' || next == 'd') return p + 2;
  if (end - p < 3) return p;
  const char third = lower(p[2]);
  if ((next == 'r' && third == 'e') || (next == 'v' && third == 'e') || (next == 'l' && third == 'l')) return p + 3;
  if (kAnyCase && p[1] == '\xc5' && p[2] == '\xbf') return p + 3;  // U+017F, the long s.
  return p;
}

// Which bytes of a window are what; bit i is byte i. Classes are those of ASCII.
struct ByteMasks {
  uint64_t letters = 0, numbers = 0;
  uint64_t spaces = 0, breaks = 0, blanks = 0;  // White space; of it \r and \n; of it U+0020.
  uint64_t quotes = 0;                          // Apostrophes.
  uint64_t high = 0, continuations = 0;         // Bytes of characters beyond ASCII; of these all but the first.
};

// A window's bytes, and how many may be read at its beginning: a key of the cache of pieces is read at any of them.
inline constexpr size_t kWindow = 64, kReadable = kWindow + 16;

inline ByteMasks Classify(const char* p) {
  ByteMasks masks;
#ifdef __SSE2__
  for (int at = 0; at < 64; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + at));
    const auto set = [at](uint64_t* mask, __m128i wanted) {
      *mask |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(wanted))) << at;
    };
    // Bytes from 0x80 on are negative.
    const auto between = [](__m128i x, char low, char high) {
      return _mm_and_si128(_mm_cmpgt_epi8(x, _mm_set1_epi8(static_cast<char>(low - 1))),
                           _mm_cmplt_epi8(x, _mm_set1_epi8(static_cast<char>(high + 1))));
    };
    const auto is = [bytes](char c) { return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)); };
    const __m128i blank = is(' ');
    set(&masks.letters, between(_mm_or_si128(bytes, _mm_set1_epi8(0x20)), 'a', 'z'));
    set(&masks.numbers, between(bytes, '0', '9'));
    set(&masks.spaces, _mm_or_si128(blank, between(bytes, 9, 13)));
    set(&masks.breaks, _mm_or_si128(is('\r'), is('\n')));
    set(&masks.blanks, blank);
    set(&masks.quotes, is('\''));
    set(&masks.high, bytes);
    set(&masks.continuations, _mm_cmplt_epi8(bytes, _mm_set1_epi8(static_cast<char>(0xc0))));
  }
#else
  for (int at = 0; at < 64; ++at) {
    const auto byte = static_cast<unsigned char>(p[at]);
    const auto set = [at](uint64_t* mask, bool wanted) { *mask |= static_cast<uint64_t>(wanted) << at; };
    set(&masks.letters, (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
    set(&masks.numbers, byte >= '0' && byte <= '9');
    set(&masks.spaces, byte == ' ' || (byte >= 9 && byte <= 13));
    set(&masks.breaks, byte == '\r' || byte == '\n');
    set(&masks.blanks, byte == ' ');
    set(&masks.quotes, byte == '\'');
    set(&masks.high, byte >= 0x80);
    set(&masks.continuations, byte >= 0x80 && byte < 0xc0);
  }
#endif
  return masks;
}

// Where pieces end in the text of `left` bytes at `p`, where one begins: bit i for an end before byte i, and all ends
// up to the last. 0 if there is none near; then PieceEnd knows. kReadable bytes may be read at `p`, the text's or not.
template <SplitterKind kind>
inline uint64_t PieceEnds(const ByteClasses& classes, const char* p, size_t left) {
  static_assert(kind == SplitterKind::kGpt2 || kind == SplitterKind::kLlama3 || kind == SplitterKind::kQwen2);
  const ByteMasks masks = Classify(p);
  bool to_end = left < kWindow;
  size_t size = std::min(left, kWindow);
  uint64_t known = to_end ? (uint64_t{1} << left) - 1 : ~uint64_t{0};
  uint64_t letters = masks.letters;
  for (uint64_t leads = masks.high & ~masks.continuations & known; leads != 0; leads &= leads - 1) {
    const int at = std::countr_zero(leads);
    int length;
    const uint8_t is = classes.At(p + at, &length);
    if (is & (kNumber | kSpace)) {
      to_end = false;
      size = at;
      known = (uint64_t{1} << at) - 1;
      break;
    }
    letters |= (is ? (uint64_t{1} << length) - 1 : 0) << at;
  }
  letters &= known;
  const uint64_t numbers = masks.numbers & known, spaces = masks.spaces & known, breaks = masks.breaks & known;
  const uint64_t others = known & ~(letters | numbers | spaces);
  const uint64_t after_blank = (masks.blanks & known) << 1;
  const auto begins = [](uint64_t runs) { return runs & ~(runs << 1); };

  // Others that have no space before them: an apostrophe among them may begin a contraction.
  const uint64_t alone = begins(others) & ~after_blank;
  uint64_t last_spaces = spaces & ~(spaces >> 1);  // Which are left for what follows.
  if (to_end) last_spaces &= ~(uint64_t{1} << (left - 1));
  uint64_t ends;
  if constexpr (kind == SplitterKind::kGpt2) {
    ends = ((begins(letters) | begins(numbers)) & ~after_blank) | alone | begins(spaces) | last_spaces;
  } else {
    // A character that is alone joins the letters behind it.
    const uint64_t joined = ((alone << 1) + masks.continuations) & ~masks.continuations;
    // Line breaks behind others are theirs.
    const uint64_t taken = breaks & ~(breaks + (breaks & (others << 1)));
    // White space up to its last line break is one piece. So one ends behind a break, unless further ones follow.
    const uint64_t within = spaces & ~breaks;
    uint64_t after_break = within & ((breaks & ~taken) << 1);
    for (uint64_t later = (within + after_break) & ~within & breaks; later != 0; later &= later - 1) {
      after_break &= ~std::bit_floor(after_break & ((later & -later) - 1));
    }
    ends = (begins(letters) & ~(within << 1) & ~joined) | alone | begins(spaces & ~taken) | after_break |
           (last_spaces & within);
    if constexpr (kind == SplitterKind::kQwen2) {
      ends |= numbers;
    } else {
      const uint64_t fourth = numbers & numbers << 1 & numbers << 2;  // Or later.
      for (uint64_t groups = begins(numbers); groups != 0; groups = groups << 3 & fourth) ends |= groups;
    }
  }

  uint64_t sure = known;
  if (to_end) {
    ends |= uint64_t{1} << left;
    sure = known << 1;
  } else {
    // White space that may go on is not decided, nor is what could be a contraction.
    const size_t run = std::countl_one(size == 0 ? 0 : spaces << (kWindow - size));
    const size_t last = size - std::max<size_t>(run, 4);
    if (size < std::max<size_t>(run, 4)) return 0;
    sure = (uint64_t{2} << last) - 1;
  }
  for (uint64_t quotes = masks.quotes & alone & letters >> 1 & (sure | 1); quotes != 0; quotes &= quotes - 1) {
    const int at = std::countr_zero(quotes);
    const size_t end = ContractionEnd<kind>(p + at, p + left) - p;
    if (end == static_cast<size_t>(at)) continue;
    if constexpr (kind == SplitterKind::kGpt2) ends &= ~(uint64_t{2} << at);
    if (end < kWindow) ends |= uint64_t{1} << end;
  }
  return ends & sure & ~uint64_t{1};
}

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_FAST_SPLITTER_H_
