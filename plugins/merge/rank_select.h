// RankSelect: which of a tensor's numbers are the k largest by magnitude, exactly, without sorting.
//
// A float's bits without the sign are ordered as its magnitude. The first pass counts by the upper 16 bits; the counts
// tell in which of these groups the k-th largest lies. The second counts that group's numbers by the lower 16 bits,
// which gives the k-th largest itself. Of the numbers that equal it those with the lowest index are taken: where not
// all of them are, a third pass counts them block by block. A pass is a read of the tensor by all threads; counts have
// no order, so nothing depends on which thread counted what.
//
// Thread-safe: Count for different blocks, Add; Advance by one thread while nothing else runs.
#ifndef EDITD_PLUGINS_MERGE_RANK_SELECT_H_
#define EDITD_PLUGINS_MERGE_RANK_SELECT_H_

#include <cstdint>
#include <mutex>
#include <vector>

#include "plugins/lib/kernels/blocks.h"

namespace editd::merge {

class RankSelect {
 public:
  // Finds, for each of `counts`, that many largest of `elements` numbers, which come in blocks of `block`. With
  // `exact_ties` false only the k-th largest is found (Key).
  RankSelect(std::vector<int64_t> counts, int64_t elements, int64_t block, bool exact_ties = true);

  // Before the first pass and after each: true if another pass over all blocks is needed.
  bool Advance();
  // A thread counts into words of its own, which are zero before and are added after.
  size_t words() const;
  void Count(const float* x, int64_t begin, size_t n, uint32_t* words);
  void Add(const uint32_t* words);
  // Other counts than the constructor's; before the first pass has been advanced past.
  void SetCounts(const std::vector<int64_t>& counts);

  // The magnitude's bits of the k-th largest.
  uint32_t Key(size_t cut) const { return cuts_[cut].key; }
  // Zero in x (the block at `begin`): all but those among the k largest of `cut`; with `but`, also those among that
  // cut's.
  void Keep(size_t cut, float* x, int64_t begin, size_t n) const { Keep(cut, nullptr, x, begin, n); }
  void KeepWithout(size_t cut, size_t but, float* x, int64_t begin, size_t n) const {
    Keep(cut, &cuts_[but], x, begin, n);
  }

 private:
  enum class Pass { kNone, kHigh, kLow, kTies, kDone };
  struct Cut {
    int64_t count = 0;
    uint32_t key = 0;
    int64_t above = 0;   // Numbers larger than any of the group, later than the key.
    int64_t equal = 0;   // Numbers that equal the key.
    bool open = false;   // Not yet known.
    int64_t block = -1;  // Ties are taken before this block's beginning, and `ties` of those in it. -1: all.
    int64_t ties = 0;
    std::vector<uint32_t> by_block;  // The third pass.

    bool Special(int64_t begin) const { return begin == block; }
    // Least bits that are taken in a block that is not special.
    uint64_t Least(int64_t begin) const { return uint64_t{key} + (block >= 0 && begin > block ? 1 : 0); }
  };
  void Keep(size_t cut, const Cut* but, float* x, int64_t begin, size_t n) const;

  const int64_t elements_, block_;
  const bool exact_ties_;
  std::vector<Cut> cuts_;
  Pass pass_ = Pass::kNone;
  std::mutex mutex_;  // Guards totals_ while a pass runs.
  std::vector<uint64_t> totals_;
};

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_RANK_SELECT_H_
