#include "plugins/merge/rank_select.h"

#include <algorithm>
#include <bit>

namespace editd::merge {
namespace {

constexpr uint64_t kNothing = uint64_t{1} << 32;  // Above the bits of any magnitude.

uint32_t Clamp(uint64_t bits) { return static_cast<uint32_t>(std::min<uint64_t>(bits, 0xffffffffu)); }

}  // namespace

RankSelect::RankSelect(std::vector<int64_t> counts, int64_t elements, int64_t block, bool exact_ties)
    : elements_(elements), block_(block), exact_ties_(exact_ties), cuts_(counts.size()) {
  SetCounts(counts);
}

void RankSelect::SetCounts(const std::vector<int64_t>& counts) {
  for (size_t i = 0; i < cuts_.size(); ++i) {
    Cut& cut = cuts_[i];
    cut.count = counts[i];
    cut.open = exact_ties_ ? cut.count > 0 && cut.count < elements_ : elements_ > 0;
    cut.key = cut.count <= 0 ? 0xffffffffu : 0;
  }
}

size_t RankSelect::words() const {
  if (pass_ == Pass::kHigh) return kernels::kHighCounts;
  return pass_ == Pass::kLow ? kernels::kLowCounts * cuts_.size() : 0;
}

void RankSelect::Count(const float* x, int64_t begin, size_t n, uint32_t* words) {
  const kernels::Blocks& k = kernels::ForThisMachine();
  if (pass_ == Pass::kHigh) return k.count_high(x, n, words);
  for (size_t i = 0; i < cuts_.size(); ++i) {
    Cut& cut = cuts_[i];
    if (!cut.open) continue;
    if (pass_ == Pass::kLow) {
      k.count_low(x, cut.key >> 16, n, words + i * kernels::kLowCounts);
    } else {
      cut.by_block[static_cast<size_t>(begin / block_)] = static_cast<uint32_t>(k.count_equal(x, cut.key, n));
    }
  }
}

void RankSelect::Add(const uint32_t* words) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < totals_.size(); ++i) totals_[i] += words[i];
}

bool RankSelect::Advance() {
  const auto any_open = [&] { return std::any_of(cuts_.begin(), cuts_.end(), [](const Cut& c) { return c.open; }); };
  switch (pass_) {
    case Pass::kNone:
      if (!any_open()) break;
      pass_ = Pass::kHigh;
      totals_.assign(words(), 0);
      return true;
    case Pass::kHigh:
      for (Cut& cut : cuts_) {
        if (!cut.open) continue;
        size_t group = kernels::kHighCounts;
        for (cut.above = 0; group > 0; cut.above += static_cast<int64_t>(totals_[group])) {
          --group;
          if (cut.above + static_cast<int64_t>(totals_[group]) >= cut.count) break;
        }
        cut.key = static_cast<uint32_t>(group) << 16;
      }
      if (!any_open()) break;
      pass_ = Pass::kLow;
      totals_.assign(words(), 0);
      return true;
    case Pass::kLow:
      for (size_t i = 0; i < cuts_.size(); ++i) {
        Cut& cut = cuts_[i];
        if (!cut.open) continue;
        const uint64_t* counts = &totals_[i * kernels::kLowCounts];
        size_t low = kernels::kLowCounts;
        for (; low > 0; cut.above += static_cast<int64_t>(counts[low])) {
          --low;
          if (cut.above + static_cast<int64_t>(counts[low]) >= cut.count) break;
        }
        cut.key |= static_cast<uint32_t>(low);
        cut.equal = static_cast<int64_t>(counts[low]);
        cut.open = exact_ties_ && cut.above + cut.equal > cut.count;
        if (cut.open) cut.by_block.assign(static_cast<size_t>((elements_ + block_ - 1) / block_), 0);
      }
      totals_ = {};
      if (!any_open()) break;
      pass_ = Pass::kTies;
      return true;
    case Pass::kTies:
      for (Cut& cut : cuts_) {
        if (!cut.open) continue;
        int64_t left = cut.count - cut.above;
        size_t block = 0;
        for (; left > cut.by_block[block]; ++block) left -= cut.by_block[block];
        cut.block = static_cast<int64_t>(block) * block_;
        cut.ties = left;
        cut.by_block = {};
        cut.open = false;
      }
      break;
    case Pass::kDone:
      break;
  }
  pass_ = Pass::kDone;
  return false;
}

void RankSelect::Keep(size_t index, const Cut* but, float* x, int64_t begin, size_t n) const {
  const Cut& cut = cuts_[index];
  if (!cut.Special(begin) && (but == nullptr || !but->Special(begin))) {
    const uint64_t end = but == nullptr ? kNothing : but->Least(begin);
    kernels::ForThisMachine().keep_between(x, Clamp(cut.Least(begin)), Clamp(end), n);
    return;
  }
  int64_t ties = 0, ties_but = 0;
  const auto among = [begin](const Cut& c, uint32_t bits, int64_t* seen) {
    if (!c.Special(begin)) return bits >= c.Least(begin);
    return bits > c.key || (bits == c.key && (*seen)++ < c.ties);
  };
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & kernels::kMagnitudeBits;
    const bool kept = among(cut, bits, &ties), excluded = but != nullptr && among(*but, bits, &ties_but);
    if (!kept || excluded) x[i] = 0;
  }
}

}  // namespace editd::merge
