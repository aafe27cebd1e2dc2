#include "plugins/lib/text/added_tokens.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <bit>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

// The flags of the character that ends at `end` (begin < end).
uint8_t FlagsBefore(const char* begin, const char* end) {
  const char* p = end - 1;
  while (p > begin && end - p < 4 && (*p & 0xc0) == 0x80) --p;
  int length;
  return CodePointFlags()[DecodeUtf8(p, end, &length)];
}

uint8_t FlagsAfter(const char* p, const char* end, int* length) { return CodePointFlags()[DecodeUtf8(p, end, length)]; }

}  // namespace

bool AddedTokenMatcher::Add(std::string_view form, const AddedToken* token) {
  uint32_t node = 0;
  for (char c : form) {
    const uint64_t key = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(c);
    if (const uint64_t* next = edges_.Get(key)) {
      node = static_cast<uint32_t>(*next);
      continue;
    }
    const auto next = static_cast<uint32_t>(accepts_.size());
    accepts_.push_back(0);
    edges_.Insert(key, next);
    node = next;
  }
  if (node == 0 || accepts_[node] != 0) return false;
  tokens_.push_back(token);
  accepts_[node] = static_cast<uint32_t>(tokens_.size());
  bool& first = first_[static_cast<uint8_t>(form[0])];
  if (!first) firsts_.push_back(form[0]);
  first = true;
  return true;
}

size_t AddedTokenMatcher::NextFirst(std::string_view text, size_t at) const {
#ifdef __SSE2__
  // Most vocabularies' tokens begin with one byte, "<", or few.
  if (firsts_.size() <= 4) {
    __m128i wanted[4];
    for (size_t i = 0; i < 4; ++i) wanted[i] = _mm_set1_epi8(firsts_[i < firsts_.size() ? i : 0]);
    for (; at + 16 <= text.size(); at += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
      const __m128i found =
          _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, wanted[0]), _mm_cmpeq_epi8(bytes, wanted[1])),
                       _mm_or_si128(_mm_cmpeq_epi8(bytes, wanted[2]), _mm_cmpeq_epi8(bytes, wanted[3])));
      const auto mask = static_cast<unsigned>(_mm_movemask_epi8(found));
      if (mask != 0) return at + std::countr_zero(mask);
    }
  }
#endif
  while (at < text.size() && !first_[static_cast<uint8_t>(text[at])]) ++at;
  return at;
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text, size_t at, size_t* length) const {
  uint32_t node = 0, accepted = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const uint64_t* next = edges_.Get(static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(text[i]));
    if (!next) break;
    node = static_cast<uint32_t>(*next);
    if (accepts_[node] != 0) {
      accepted = accepts_[node];
      *length = i + 1 - at;
    }
  }
  return accepted == 0 ? nullptr : tokens_[accepted - 1];
}

void AddedTokenMatcher::Match(std::string_view text, std::vector<Part>* parts) const {
  parts->clear();
  const char* const data = text.data();
  const char* const end = data + text.size();
  size_t done = 0;                    // What lies before it is in parts.
  size_t run_begin = 1, run_end = 0;  // The last white space that rstrip took; none yet.
  for (size_t at = 0; !tokens_.empty();) {
    at = NextFirst(text, at);
    if (at == text.size()) break;
    size_t length;
    const AddedToken* token = LongestAt(text, at, &length);
    if (!token) {
      ++at;
      continue;
    }
    size_t start = at, stop = at + length;
    at = stop;
    int unused;
    if (token->single_word && ((start > 0 && FlagsBefore(data, data + start) & kWord) ||
                               (stop < text.size() && FlagsAfter(data + stop, end, &unused) & kWord))) {
      continue;
    }
    if (token->lstrip) {
      // What an earlier token has taken stays its own, and is not looked at again: a run of spaces costs its length
      // once.
      const char* p = data + std::max(start, done);
      while (p > data + done && FlagsBefore(data, p) & kSpace) {
        do --p;
        while (p > data + done && (*p & 0xc0) == 0x80);
      }
      start = p - data;
    }
    if (token->rstrip) {
      if (stop < run_begin || stop > run_end) {
        const char* p = data + stop;
        int step;
        while (p < end && FlagsAfter(p, end, &step) & kSpace) p += step;
        run_begin = stop;
        run_end = p - data;
      }
      stop = run_end;
    }
    if (done < start) parts->push_back({nullptr, done, start});
    if (start < stop) parts->push_back({token, start, stop});
    done = stop;
  }
  if (done < text.size()) parts->push_back({nullptr, done, text.size()});
}

}  // namespace editd::text
