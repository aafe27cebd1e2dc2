#include "plugins/lib/text/char_set.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

enum Category : uint8_t {
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCo,
};

enum ScriptId : uint8_t {
  kLatin,
  kGreek,
  kCyrillic,
  kArmenian,
  kHebrew,
  kArabic,
  kDevanagari,
  kBengali,
  kTamil,
  kTelugu,
  kThai,
  kLao,
  kTibetan,
  kMyanmar,
  kGeorgian,
  kHangul,
  kEthiopic,
  kKhmer,
  kMongolian,
  kHiragana,
  kKatakana,
  kBopomofo,
  kHan,
  kYi,
  kCommon,
};

template <typename Value>
struct ValueRange {
  uint32_t first, last;
  Value value;
};

constexpr ValueRange<Category> kCategories[] = {
#define EDITD_PROPERTY_CATEGORIES
#include "plugins/lib/text/property_tables.inc"
#undef EDITD_PROPERTY_CATEGORIES
};
constexpr ValueRange<ScriptId> kScripts[] = {
#define EDITD_PROPERTY_SCRIPTS
#include "plugins/lib/text/property_tables.inc"
#undef EDITD_PROPERTY_SCRIPTS
};
constexpr CharSet::Range kWordRanges[] = {
#define EDITD_PROPERTY_WORD
#include "plugins/lib/text/property_tables.inc"
#undef EDITD_PROPERTY_WORD
};

struct CategoryName {
  std::string_view name;
  Category first, last;
};
constexpr CategoryName kCategoryNames[] = {
    {"l", kLu, kLo},  {"letter", kLu, kLo},
    {"m", kMn, kMe},  {"mark", kMn, kMe},
    {"n", kNd, kNo},  {"number", kNd, kNo},
    {"p", kPc, kPo},  {"punctuation", kPc, kPo},
    {"s", kSm, kSo},  {"symbol", kSm, kSo},
    {"z", kZs, kZp},  {"separator", kZs, kZp},
    {"lu", kLu, kLu}, {"uppercaseletter", kLu, kLu},
    {"ll", kLl, kLl}, {"lowercaseletter", kLl, kLl},
    {"lt", kLt, kLt}, {"titlecaseletter", kLt, kLt},
    {"lm", kLm, kLm}, {"modifierletter", kLm, kLm},
    {"lo", kLo, kLo}, {"otherletter", kLo, kLo},
    {"mn", kMn, kMn}, {"nonspacingmark", kMn, kMn},
    {"mc", kMc, kMc}, {"spacingmark", kMc, kMc},
    {"me", kMe, kMe}, {"enclosingmark", kMe, kMe},
    {"nd", kNd, kNd}, {"decimalnumber", kNd, kNd},
    {"nl", kNl, kNl}, {"letternumber", kNl, kNl},
    {"no", kNo, kNo}, {"othernumber", kNo, kNo},
    {"pc", kPc, kPc}, {"pd", kPd, kPd},
    {"ps", kPs, kPs}, {"pe", kPe, kPe},
    {"pi", kPi, kPi}, {"pf", kPf, kPf},
    {"po", kPo, kPo}, {"sm", kSm, kSm},
    {"sc", kSc, kSc}, {"sk", kSk, kSk},
    {"so", kSo, kSo}, {"zs", kZs, kZs},
    {"zl", kZl, kZl}, {"zp", kZp, kZp},
    {"cc", kCc, kCc}, {"cf", kCf, kCf},
    {"co", kCo, kCo},
};

constexpr std::string_view kScriptNames[] = {
    "latin",     "greek",    "cyrillic", "armenian", "hebrew",  "arabic",   "devanagari", "bengali",  "tamil",
    "telugu",    "thai",     "lao",      "tibetan",  "myanmar", "georgian", "hangul",     "ethiopic", "khmer",
    "mongolian", "hiragana", "katakana", "bopomofo", "han",     "yi",       "common",
};

}  // namespace

const std::vector<CharSet::Range>& CharSet::ranges() {
  std::sort(ranges_.begin(), ranges_.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
  size_t kept = 0;
  for (const Range& range : ranges_) {
    if (kept > 0 && range.first <= ranges_[kept - 1].last + 1) {
      ranges_[kept - 1].last = std::max(ranges_[kept - 1].last, range.last);
    } else {
      ranges_[kept++] = range;
    }
  }
  ranges_.resize(kept);
  return ranges_;
}

void CharSet::Invert() {
  std::vector<Range> inverted;
  uint32_t next = 0;
  for (const Range& range : ranges()) {
    if (range.first > next) inverted.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= 0x10ffff) inverted.push_back({next, 0x10ffff});
  ranges_.swap(inverted);
}

void CharSet::Intersect(CharSet other) {  // By De Morgan.
  Invert();
  other.Invert();
  Add(other);
  Invert();
}

void CharSet::Freeze() {
  std::map<Page, uint16_t> known;
  index_.assign(0x1100, 0);
  pages_.clear();
  const std::vector<Range>& all = ranges();
  size_t at = 0;
  for (uint32_t page = 0; page < 0x1100; ++page) {
    Page bits = {};
    const uint32_t begin = page << 8, end = begin + 255;
    while (at < all.size() && all[at].last < begin) ++at;
    for (size_t i = at; i < all.size() && all[i].first <= end; ++i) {
      for (uint32_t c = std::max(begin, all[i].first); c <= std::min(end, all[i].last); ++c) {
        bits[c >> 6 & 3] |= uint64_t{1} << (c & 63);
      }
    }
    const auto [it, fresh] = known.emplace(bits, static_cast<uint16_t>(pages_.size()));
    if (fresh) pages_.push_back(bits);
    index_[page] = it->second;
  }
}

std::optional<CharSet> PropertySet(std::string_view name) {
  std::string plain;
  for (char c : name) {
    if (c == ' ' || c == '-' || c == '_') continue;
    plain.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  }
  CharSet set;
  for (const CategoryName& category : kCategoryNames) {
    if (category.name != plain) continue;
    for (const auto& range : kCategories) {
      if (range.value >= category.first && range.value <= category.last) set.Add(range.first, range.last);
    }
    return set;
  }
  for (size_t i = 0; i < std::size(kScriptNames); ++i) {
    if (kScriptNames[i] != plain) continue;
    for (const auto& range : kScripts) {
      if (range.value == i) set.Add(range.first, range.last);
    }
    return set;
  }
  return std::nullopt;
}

CharSet SpaceSet() {
  const uint8_t* flags = CodePointFlags();
  CharSet set;
  for (uint32_t c = 0; c <= 0x3000; ++c) {
    if (flags[c] & kSpace) set.Add(c, c);
  }
  return set;
}

CharSet WordSet(bool in_class) {
  CharSet set;
  for (const CharSet::Range& range : kWordRanges) set.Add(range.first, range.last);
  if (in_class) {
    CharSet others;
    for (uint32_t c : {0xb2, 0xb3, 0xb9, 0xbc, 0xbd, 0xbe}) others.Add(c, c);
    others.Invert();
    set.Intersect(std::move(others));
  }
  return set;
}

CharSet DigitSet() { return *PropertySet("Nd"); }

}  // namespace editd::text
