// Sets of code points: what a class of a regular expression matches.
//
// Built from ranges, then frozen into pages of bits for looking up. Pages that are equal are kept once, so that a set
// takes a few kilobytes. Immutable once frozen.
#ifndef EDITD_PLUGINS_LIB_TEXT_CHAR_SET_H_
#define EDITD_PLUGINS_LIB_TEXT_CHAR_SET_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace editd::text {

class CharSet {
 public:
  struct Range {
    uint32_t first, last;
    bool operator==(const Range&) const = default;
  };

  void Add(uint32_t first, uint32_t last) { ranges_.push_back({first, last}); }
  void Add(const CharSet& other) { ranges_.insert(ranges_.end(), other.ranges_.begin(), other.ranges_.end()); }
  // All others, up to U+10FFFF.
  void Invert();
  void Intersect(CharSet other);

  // In order, neither overlapping nor touching.
  const std::vector<Range>& ranges();

  // Has may be called from now on; the set does not change any more.
  void Freeze();
  bool Has(uint32_t c) const { return pages_[index_[c >> 8]][c >> 6 & 3] >> (c & 63) & 1; }

 private:
  using Page = std::array<uint64_t, 4>;

  std::vector<Range> ranges_;
  std::vector<uint16_t> index_;
  std::vector<Page> pages_;
};

// The set of a Unicode property as the reference's regular expressions know it: a general category ("L", "Lu",
// "Letter"), a script ("Han"); case, spaces, '-' and '_' in the name do not matter. None if we do not know it.
std::optional<CharSet> PropertySet(std::string_view name);

// \s, \w and \d of the reference's regular expressions. Its \w has the six superscripts and fractions of Latin-1 where
// it stands alone, but not `in_class`.
CharSet SpaceSet();
CharSet WordSet(bool in_class);
CharSet DigitSet();

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_CHAR_SET_H_
