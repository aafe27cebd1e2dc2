// Almost all text is normal already. So the text is scanned for the few code points that are "unstable": those with a
// combining class, those that decompose, and those that may join the character before them. In NFC nothing below U+0300
// is (in the others nothing below U+0080), so the scan skips by lead byte. Around an unstable one a segment is cut out:
// from the last stable character before it up to the next stable one after it. A stable character never joins what
// stands before it, so segments are independent, and each is normalised by the book: decompose in full, sort marks by
// combining class, compose.
//
// With each character goes its `change`, what it does to the reference's places: the second and further ones of a
// decomposition take none, a composed one takes those of all that it was composed of.
#include "plugins/lib/text/nfc.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <vector>

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

constexpr uint32_t kCompatible[] = {
#define EDITD_MAPPING_COMPATIBLE
#include "plugins/lib/text/mapping_tables.inc"
#undef EDITD_MAPPING_COMPATIBLE
};

struct CompatibleEntry {
  uint32_t code_point, at;  // `at`: of the table, the number of characters.
};

const std::vector<CompatibleEntry>& CompatibleIndex() {
  static const auto* const index = [] {
    auto* made = new std::vector<CompatibleEntry>;
    for (uint32_t i = 0; i < std::size(kCompatible); i += 2 + kCompatible[i + 1])
      made->push_back({kCompatible[i], i + 1});
    return made;
  }();
  return *index;
}

bool Composes(Form form) { return form == Form::kNfc || form == Form::kNfkc; }
bool IsCompatible(Form form) { return form == Form::kNfkc || form == Form::kNfkd; }

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
  int change = 0;
};

void Decompose(Form form, uint32_t c, std::vector<Mark>* out) {
  const size_t first = out->size();
  auto add = [&](uint32_t part, uint8_t combining_class) {
    out->push_back({part, combining_class, out->size() > first ? 1 : 0});
  };
  if (c - kSyllable < kSyllables) {
    const uint32_t index = c - kSyllable;
    add(kLead + index / (kVowels * kTails), 0);
    add(kVowel + index % (kVowels * kTails) / kTails, 0);
    if (index % kTails != 0) add(kTail + index % kTails, 0);
    return;
  }
  if (IsCompatible(form)) {
    const auto& index = CompatibleIndex();
    const auto found = std::lower_bound(index.begin(), index.end(), c,
                                        [](const CompatibleEntry& e, uint32_t value) { return e.code_point < value; });
    if (found != index.end() && found->code_point == c) {
      const uint32_t* entry = kCompatible + found->at;
      for (uint32_t i = 0; i < entry[0]; ++i) add(entry[1 + i], CombiningClass(entry[1 + i]));
      return;
    }
  }
  const auto* found = std::lower_bound(std::begin(kDecompositions), std::end(kDecompositions), c,
                                       [](const Decomposition& d, uint32_t value) { return d.code_point < value; });
  if (found == std::end(kDecompositions) || found->code_point != c) {
    add(c, CombiningClass(c));
    return;
  }
  for (uint32_t part : found->full) {
    if (part != 0) add(part, CombiningClass(part));
  }
}

// Normalises a decomposed segment in place: canonical order, then composition where the form has it.
void Recompose(Form form, std::vector<Mark>* segment) {
  auto& marks = *segment;
  for (size_t i = 0; i < marks.size();) {
    size_t j = i;
    while (j < marks.size() && marks[j].combining_class != 0) ++j;
    std::stable_sort(marks.begin() + i, marks.begin() + j,
                     [](const Mark& a, const Mark& b) { return a.combining_class < b.combining_class; });
    i = j + 1;
  }
  if (!Composes(form)) return;
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
          marks[starter].change += mark.change - 1;
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

// Unstable code points of each form: bit 1 << form.
const uint8_t* UnstableFlags() {
  static const uint8_t* const flags = [] {
    auto* made = new uint8_t[0x110000]();
    for (Form form : {Form::kNfc, Form::kNfd, Form::kNfkc, Form::kNfkd}) {
      MarkUnstable(form, made, static_cast<uint8_t>(1 << static_cast<int>(form)));
    }
    return made;
  }();
  return flags;
}

struct Stability {
  const uint8_t* flags;
  uint8_t bit;
  unsigned char first_lead;  // Characters with a lower lead byte are stable.
};
Stability StabilityOf(Form form) {
  if (form == Form::kNfc) return {CodePointFlags(), kNfcUnstable, 0xcc};
  return {UnstableFlags(), static_cast<uint8_t>(1 << static_cast<int>(form)), 0x80};
}

// The first unstable code point at or after `p`; `end` if there is none.
const char* FindUnstable(const Stability& stability, const char* p, const char* end) {
  while (p < end) {
    // Eight at a time as long as no byte is above 0x7f, or for NFC a lead byte from 0xcc on: such a byte has its two
    // highest bits, and one of the next two or both of the next, set.
    uint64_t eight;
    while (end - p >= 8) {
      std::memcpy(&eight, p, 8);
      const uint64_t high = stability.first_lead == 0x80
                                ? eight
                                : eight & (eight << 1) & (eight << 2 | eight << 3 | (eight << 4 & eight << 5));
      const uint64_t found = high & 0x8080808080808080u;
      p += found == 0 ? 8 : __builtin_ctzll(found) / 8;  // Little-endian, as flat_table.h's words are.
      if (found != 0) break;
    }
    if (p == end) break;
    if (static_cast<unsigned char>(*p) < stability.first_lead) {
      ++p;
      continue;
    }
    int length;
    if (stability.flags[DecodeUtf8(p, end, &length)] & stability.bit) return p;
    p += length;
  }
  return end;
}

}  // namespace

bool LooksNormal(Form form, std::string_view text) {
  const char* const end = text.data() + text.size();
  return FindUnstable(StabilityOf(form), text.data(), end) == end;
}

void NormalizeForm(Form form, const NormalText& in, NormalWriter* writer) {
  const Stability stability = StabilityOf(form);
  const char* const begin = in.text.data();
  const char* const end = begin + in.text.size();
  std::vector<Mark> segment;
  std::vector<Transformed> changes;
  const char* p = begin;
  while (p < end) {
    const char* unstable = FindUnstable(stability, p, end);
    const char* from = unstable;
    if (unstable != end && unstable > p) {  // The character before it takes part.
      do --from;
      while (from > p && unstable - from < 4 && (*from & 0xc0) == 0x80);
      int length;
      DecodeUtf8(from, end, &length);
      if (from + length != unstable) from = unstable;  // A byte that is no character.
    }
    writer->KeepTo(from - begin);
    p = from;
    if (unstable == end) break;
    segment.clear();
    while (p < end) {
      int length;
      const uint32_t c = DecodeUtf8(p, end, &length);
      if (p > unstable && !(stability.flags[c] & stability.bit)) break;
      Decompose(form, c, &segment);
      p += length;
    }
    Recompose(form, &segment);
    changes.clear();
    for (const Mark& mark : segment) changes.push_back({mark.code_point, mark.change});
    writer->Replace(p - from, changes);
  }
}

std::string NormalizeForm(Form form, std::string_view text) {
  NormalText in, out;
  in.text = text;
  NormalWriter writer(in, &out, Places::kNone);
  NormalizeForm(form, in, &writer);
  return std::move(out.text);
}

void MarkUnstable(Form form, uint8_t* flags, uint8_t bit) {
  for (const ClassRange& range : kClasses) {
    for (uint32_t c = range.first; c <= range.last; ++c) flags[c] |= bit;
  }
  auto check = [&](uint32_t c) {
    std::vector<Mark> segment;
    Decompose(form, c, &segment);
    Recompose(form, &segment);
    if (segment.size() != 1 || segment[0].code_point != c) flags[c] |= bit;
  };
  for (const Decomposition& d : kDecompositions) check(d.code_point);
  if (IsCompatible(form)) {
    for (const CompatibleEntry& entry : CompatibleIndex()) flags[entry.code_point] |= bit;
  }
  if (!Composes(form)) {
    for (uint32_t c = kSyllable; c < kSyllable + kSyllables; ++c) flags[c] |= bit;
    return;
  }
  for (const Composition& composition : kCompositions) flags[composition.second] |= bit;
  for (uint32_t i = 0; i < kVowels; ++i) flags[kVowel + i] |= bit;
  for (uint32_t i = 1; i < kTails; ++i) flags[kTail + i] |= bit;
}

}  // namespace editd::text
