// Almost all text is normal already. So the text is scanned for the few code points that are "unstable": those with a
// combining class, those that decompose, and those that may join the character before them. Nothing below U+0300 is, so
// the scan skips by lead byte. Around an unstable one a segment is cut out: from the last stable character before it up
// to the next stable one after it. A stable character never joins what stands before it, so segments are independent,
// and each is normalised by the book: decompose in full, sort marks by combining class, compose.
#include "plugins/lib/text/nfc.h"

#include <algorithm>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

struct ClassRange {
  uint32_t first, last;
  uint8_t combining_class;
};
struct Decomposition {
  uint32_t code_point;
  uint32_t full[4];
};
struct Composition {
  uint32_t first, second, composed;
};

constexpr ClassRange kClasses[] = {
#define EDITD_NFC_CLASSES
#include "plugins/lib/text/nfc_tables.inc"
#undef EDITD_NFC_CLASSES
};
constexpr Decomposition kDecompositions[] = {
#define EDITD_NFC_DECOMPOSITIONS
#include "plugins/lib/text/nfc_tables.inc"
#undef EDITD_NFC_DECOMPOSITIONS
};
constexpr Composition kCompositions[] = {
#define EDITD_NFC_COMPOSITIONS
#include "plugins/lib/text/nfc_tables.inc"
#undef EDITD_NFC_COMPOSITIONS
};

// Hangul syllables are arithmetic: lead + vowel (+ tail).
constexpr uint32_t kSyllable = 0xac00, kLead = 0x1100, kVowel = 0x1161, kTail = 0x11a7;
constexpr uint32_t kLeads = 19, kVowels = 21, kTails = 28, kSyllables = kLeads * kVowels * kTails;

uint8_t CombiningClass(uint32_t c) {
  const auto* range = std::upper_bound(std::begin(kClasses), std::end(kClasses), c,
                                       [](uint32_t value, const ClassRange& r) { return value < r.first; });
  if (range == std::begin(kClasses) || c > range[-1].last) return 0;
  return range[-1].combining_class;
}

// The composition of two code points; 0 if there is none.
uint32_t Compose(uint32_t first, uint32_t second) {
  if (first - kLead < kLeads && second - kVowel < kVowels) {
    return kSyllable + ((first - kLead) * kVowels + (second - kVowel)) * kTails;
  }
  if (first - kSyllable < kSyllables && (first - kSyllable) % kTails == 0 && second - kTail - 1 < kTails - 1) {
    return first + (second - kTail);
  }
  const Composition key{first, second, 0};
  const auto* found = std::lower_bound(std::begin(kCompositions), std::end(kCompositions), key,
                                       [](const Composition& a, const Composition& b) {
                                         return a.first != b.first ? a.first < b.first : a.second < b.second;
                                       });
  if (found == std::end(kCompositions) || found->first != first || found->second != second) return 0;
  return found->composed;
}

struct Mark {
  uint32_t code_point;
  uint8_t combining_class;
};

void Decompose(uint32_t c, std::vector<Mark>* out) {
  if (c - kSyllable < kSyllables) {
    const uint32_t index = c - kSyllable;
    out->push_back({kLead + index / (kVowels * kTails), 0});
    out->push_back({kVowel + index % (kVowels * kTails) / kTails, 0});
    if (index % kTails != 0) out->push_back({kTail + index % kTails, 0});
    return;
  }
  const auto* found = std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), c,
                                       [](const Decomposition& d, uint32_t value) { return d.code_point < value; });
  if (found == std::end(kDecompositions) || found->code_point != c) {
    out->push_back({c, CombiningClass(c)});
    return;
  }
  for (uint32_t part : found->full) {
    if (part != 0) out->push_back({part, CombiningClass(part)});
  }
}

// Normalises a segment in place: canonical order, then composition.
void Recompose(std::vector<Mark>* segment) {
  auto& marks = *segment;
  for (size_t i = 0; i < marks.size();) {
    size_t j = i;
    while (j < marks.size() && marks[j].combining_class != 0) ++j;
    std::stable_sort(marks.begin() + i, marks.begin() + j,
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    i = j + 1;
  }
  size_t size = 0;
  ptrdiff_t starter = -1;
  uint8_t last_class = 0;  // Of what was kept since the starter; 0 right after it.
  for (const Mark mark : marks) {
    if (starter >= 0) {
      const bool adjacent = static_cast<ptrdiff_t>(size) == starter + 1;
      if (adjacent || last_class < mark.combining_class) {
        const uint32_t composed = Compose(marks[starter].code_point, mark.code_point);
        if (composed != 0) {
          marks[starter].code_point = composed;
          continue;
        }
      }
    }
    if (mark.combining_class == 0) starter = static_cast<ptrdiff_t>(size);
    last_class = mark.combining_class;
    marks[size++] = mark;
  }
  marks.resize(size);
}

// The first unstable code point at or after `p`, and the last code point before it in `*previous` (`end` if none is).
const char* FindUnstable(const char* p, const char* end, const char** previous) {
  const uint8_t* flags = CodePointFlags();
  *previous = end;
  while (p < end) {
    if (static_cast<unsigned char>(*p) < 0xcc) {  // Below U+0300, or a byte within a character passed over.
      if ((*p & 0xc0) != 0x80) *previous = p;
      ++p;
      continue;
    }
    int length;
    const uint32_t c = DecodeUtf8(p, end, &length);
    if (flags[c] & kNfcUnstable) return p;
    *previous = p;
    p += length;
  }
  return end;
}

}  // namespace

bool LooksNfc(std::string_view text) {
  const char* previous;
  return FindUnstable(text.data(), text.data() + text.size(), &previous) == text.data() + text.size();
}

void Nfc(std::string_view text, std::string* out, std::vector<NfcSpan>* spans) {
  const uint8_t* flags = CodePointFlags();
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  out->clear();
  out->reserve(text.size());
  std::vector<Mark> segment;
  const char* p = begin;
  while (p < end) {
    const char* previous;
    const char* unstable = FindUnstable(p, end, &previous);
    const char* from = unstable == end || previous == end ? unstable : previous;
    out->append(p, from - p);
    p = from;
    if (unstable == end) break;
    segment.clear();
    while (p < end) {
      int length;
      const uint32_t c = DecodeUtf8(p, end, &length);
      if (p > unstable && !(flags[c] & kNfcUnstable)) break;
      Decompose(c, &segment);
      p += length;
    }
    Recompose(&segment);
    const size_t normal_begin = out->size();
    for (const Mark& mark : segment) AppendUtf8(mark.code_point, out);
    if (spans) {
      spans->push_back({static_cast<size_t>(from - begin), static_cast<size_t>(p - begin), normal_begin, out->size()});
    }
  }
}

void MarkNfcUnstable(uint8_t* flags, uint8_t bit) {
  for (const ClassRange& range : kClasses) {
    for (uint32_t c = range.first; c <= range.last; ++c) flags[c] |= bit;
  }
  for (const Decomposition& d : kDecompositions) {
    std::vector<Mark> segment;
    Decompose(d.code_point, &segment);
    Recompose(&segment);
    if (segment.size() != 1 || segment[0].code_point != d.code_point) flags[d.code_point] |= bit;
  }
  for (const Composition& composition : kCompositions) flags[composition.second] |= bit;
  for (uint32_t i = 0; i < kVowels; ++i) flags[kVowel + i] |= bit;
  for (uint32_t i = 1; i < kTails; ++i) flags[kTail + i] |= bit;
}

}  // namespace editd::text
