// The guess. Every eighth block gives its first eighth, so the pages are the ones that the next pass reads. The
// sample's counts by the upper 16 bits tell which groups the k-th largest is in, give or take what a sample errs by
// (blocks of one tensor differ, so a block counts as a few numbers only). A window has up to eight groups; the numbers
// in it, a few in a hundred, are gathered by each thread and counted by their magnitude in a table.
#include "plugins/merge/rank_select.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace editd::merge {
namespace {

constexpr uint64_t kNothing = uint64_t{1} << 32;  // Above the bits of any magnitude.
constexpr int64_t kSampleBlocks = 8, kSamplePart = 8;
constexpr size_t kGroup = size_t{1} << 16;  // Magnitudes with the same upper bits.
constexpr size_t kWindowGroups = 8;
// What a thread gathers before it counts, for each cut: how many, two words of how many lie above, the numbers.
constexpr size_t kGathered = 3, kGatherRoom = 1 << 15;

uint32_t Clamp(uint64_t bits) { return static_cast<uint32_t>(std::min<uint64_t>(bits, 0xffffffffu)); }

}  // namespace

RankSelect::RankSelect(std::vector<int64_t> counts, int64_t elements, int64_t block, Options options)
    : elements_(elements), block_(block), options_(options), cuts_(counts.size()), ties_(counts.size()) {
  SetCounts(counts);
}

void RankSelect::SetCounts(const std::vector<int64_t>& counts) {
  for (size_t i = 0; i < cuts_.size(); ++i) {
    Cut& cut = cuts_[i];
    cut.count = counts[i];
    cut.open = options_.exact_ties ? cut.count > 0 && cut.count < elements_ : elements_ > 0;
    cut.key = cut.count <= 0 ? 0xffffffffu : 0;
  }
}

bool RankSelect::Open() const {
  return std::any_of(cuts_.begin(), cuts_.end(), [](const Cut& cut) { return cut.open; });
}

size_t RankSelect::Wanted(int64_t begin, size_t n) const {
  if (pass_ == Pass::kDone) return 0;
  if (pass_ != Pass::kSample) return n;
  return begin / block_ % kSampleBlocks == 0 ? (n + kSamplePart - 1) / kSamplePart : 0;
}

size_t RankSelect::words() const {
  switch (pass_) {
    case Pass::kSample:
    case Pass::kHigh:
      return kernels::kHighCounts;
    case Pass::kLow:
      return kernels::kLowCounts * cuts_.size();
    case Pass::kWindow:
      return (kGathered + kGatherRoom) * cuts_.size();
    default:
      return 0;
  }
}

void RankSelect::Count(const float* x, int64_t /*begin*/, size_t n, uint32_t* words) {
  const kernels::Blocks& k = kernels::ForThisMachine();
  if (pass_ == Pass::kSample || pass_ == Pass::kHigh) return k.count_high(x, n, words);
  for (size_t i = 0; i < cuts_.size(); ++i) {
    const Cut& cut = cuts_[i];
    if (!cut.open) continue;
    if (pass_ == Pass::kLow) {
      k.count_low(x, cut.key >> 16, n, words + i * kernels::kLowCounts);
      continue;
    }
    uint32_t* mine = words + i * (kGathered + kGatherRoom);
    for (size_t at = 0; at < n;) {
      const size_t piece = std::min(n - at, kGatherRoom / 2);
      if (mine[0] + piece + kernels::kMaxLanes > kGatherRoom) Flush(i, mine);
      uint64_t above = 0;
      mine[0] += static_cast<uint32_t>(
          k.collect_between(x + at, cut.least, cut.end, piece, mine + kGathered + mine[0], &above));
      above += mine[1] | uint64_t{mine[2]} << 32;
      mine[1] = static_cast<uint32_t>(above);
      mine[2] = static_cast<uint32_t>(above >> 32);
      at += piece;
    }
  }
}

void RankSelect::Flush(size_t cut, uint32_t* words) {
  std::array<Table, 2>& tables = tables_[cut];
  const uint32_t least = cuts_[cut].least;
  std::unique_lock lock(tables[0].mutex, std::try_to_lock);
  Table* table = &tables[0];
  if (!lock.owns_lock()) {
    lock = std::unique_lock(tables[1].mutex);
    table = &tables[1];
  }
  for (uint32_t i = 0; i < words[0]; ++i) {
    const uint32_t at = words[kGathered + i] - least;
    ++table->counts[at];
    ++table->groups[at / kGroup];
  }
  words[0] = 0;
}

void RankSelect::Add(uint32_t* words) {
  if (pass_ != Pass::kWindow) {
    std::lock_guard lock(mutex_);
    for (size_t i = 0; i < totals_.size(); ++i) totals_[i] += words[i];
    return;
  }
  for (size_t i = 0; i < cuts_.size(); ++i) {
    if (!cuts_[i].open) continue;
    uint32_t* const mine = words + i * (kGathered + kGatherRoom);
    Flush(i, mine);
    std::lock_guard lock(mutex_);
    cuts_[i].above += static_cast<int64_t>(mine[1] | uint64_t{mine[2]} << 32);
  }
}

// From the sample's counts.
void RankSelect::SetWindows() {
  double sample = 0;
  for (const uint64_t count : totals_) sample += static_cast<double>(count);
  const double blocks = sample * static_cast<double>(kSamplePart) / static_cast<double>(block_);
  for (Cut& cut : cuts_) {
    if (!cut.open) continue;
    const double share = static_cast<double>(cut.count) / static_cast<double>(elements_);
    const double error = 3 * std::sqrt(share * (1 - share) / std::max(1.0, 16 * blocks));
    // Groups from the top: the first whose numbers may be among the k largest's last, and the last.
    size_t first = 0, middle = 0, last = 0;
    double seen = 0;
    for (size_t group = kernels::kHighCounts; group-- > 0;) {
      if (totals_[group] == 0) continue;
      seen += static_cast<double>(totals_[group]) / sample;
      if (seen <= share - error) continue;
      if (first == 0) first = group;
      if (middle == 0 && seen >= share) middle = group;
      last = group;
      if (seen >= share + error) break;
    }
    if (middle == 0) middle = last;
    // Not more than the table holds: about the middle.
    const size_t top = std::min(first, middle + kWindowGroups / 2 - 1);
    const size_t bottom = std::max(last, top + 1 < kWindowGroups ? 0 : top + 1 - kWindowGroups);
    cut.zeros = bottom == 0;
    cut.least = cut.zeros ? 1 : static_cast<uint32_t>(bottom) << 16;
    cut.end = static_cast<uint32_t>(top + 1) << 16;
    cut.above = 0;
  }
}

// The k-th largest, if the window has it.
bool RankSelect::FindInWindow(size_t index) {
  Cut& cut = cuts_[index];
  const std::array<Table, 2>& tables = tables_[index];
  if (cut.above >= cut.count) return false;
  const size_t size = cut.end - cut.least;
  size_t group = (size + kGroup - 1) / kGroup;
  const auto sum = [&](const auto& of) { return static_cast<int64_t>(of(tables[0]) + of(tables[1])); };
  for (;; cut.above += sum([&](const Table& t) { return t.groups[group]; })) {
    if (group-- == 0) return cut.zeros;  // The key is zero as it is.
    if (cut.above + sum([&](const Table& t) { return t.groups[group]; }) >= cut.count) break;
  }
  size_t at = std::min(size, (group + 1) * kGroup);
  const auto count = [&] { return sum([&](const Table& t) { return uint64_t{t.counts[at]}; }); };
  for (;; cut.above += count()) {
    --at;
    if (cut.above + count() >= cut.count) break;
  }
  cut.key = cut.least + static_cast<uint32_t>(at);
  cut.equal = count();
  return true;
}

bool RankSelect::Advance() {
  const auto begin = [this](Pass pass) {
    pass_ = pass;
    totals_.assign(pass == Pass::kWindow ? 0 : words(), 0);
    return true;
  };
  switch (pass_) {
    case Pass::kNone:
      if (Open()) return begin(elements_ >= options_.sampled ? Pass::kSample : Pass::kHigh);
      break;
    case Pass::kSample:
      SetWindows();
      tables_ = std::vector<std::array<Table, 2>>(cuts_.size());
      for (size_t i = 0; i < cuts_.size(); ++i) {
        for (Table& table : tables_[i]) {
          table.counts.reset(static_cast<uint32_t*>(std::calloc(cuts_[i].end - cuts_[i].least, sizeof(uint32_t))));
        }
      }
      return begin(Pass::kWindow);
    case Pass::kWindow: {
      for (size_t i = 0; i < cuts_.size(); ++i) {
        if (cuts_[i].open && FindInWindow(i)) cuts_[i].open = false;
      }
      tables_.clear();
      if (Open()) return begin(Pass::kHigh);
      break;
    }
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
      if (Open()) return begin(Pass::kLow);
      break;
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
        cut.open = false;
      }
      break;
    case Pass::kDone:
      return false;
  }
  pass_ = Pass::kDone;
  totals_ = {};
  FindTies();
  return false;
}

void RankSelect::FindTies() {
  for (size_t i = 0; i < cuts_.size(); ++i) {
    const Cut& cut = cuts_[i];
    // Zeros are zero, taken or not.
    if (!options_.exact_ties || cut.key == 0 || cut.above + cut.equal <= cut.count) continue;
    ties_[i] = std::make_unique<Tie>();
    ties_[i]->key = cut.key;
    ties_[i]->wanted = cut.count - cut.above;
  }
}

void RankSelect::Place(Tie* tie, int64_t begin, int64_t end, const std::vector<uint32_t>& equal) {
  {
    std::unique_lock lock(tie->mutex);
    tie->moved.wait(lock, [&] { return tie->next == begin || tie->block.load() >= 0; });
    if (tie->block.load() >= 0) return;
    for (size_t i = 0; i < equal.size(); ++i) {
      if (tie->seen + equal[i] >= tie->wanted) {
        tie->here = tie->wanted - tie->seen;
        tie->block.store(begin + static_cast<int64_t>(i) * block_, std::memory_order_release);
        break;
      }
      tie->seen += equal[i];
    }
    tie->next = end;
  }
  tie->moved.notify_all();
}

void RankSelect::Zero(size_t index, size_t but, float* x, int64_t begin, size_t n) const {
  // From which magnitude on a cut takes a block's numbers; or nothing if only some of those that equal its key.
  const auto least = [&](size_t cut) -> std::pair<uint64_t, bool> {
    const Tie* const tie = ties_[cut].get();
    const int64_t block = tie == nullptr ? -1 : tie->block.load(std::memory_order_acquire);
    return {uint64_t{cuts_[cut].key} + (block >= 0 && begin > block ? 1 : 0), block == begin};
  };
  const bool both = but < cuts_.size();
  const auto [from, some] = least(index);
  const auto [until, some_but] = both ? least(but) : std::pair(kNothing, false);
  if (!some && !some_but) return kernels::ForThisMachine().keep_between(x, Clamp(from), Clamp(until), n);
  int64_t seen = 0, seen_but = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & kernels::kMagnitudeBits;
    const bool kept = bits > cuts_[index].key || (bits >= from && (!some || seen++ < ties_[index]->here));
    const bool excluded =
        both && (bits > cuts_[but].key || (bits >= until && (!some_but || seen_but++ < ties_[but]->here)));
    if (!kept || excluded) x[i] = 0;
  }
}

}  // namespace editd::merge
