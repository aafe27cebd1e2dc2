// RankSelect: which of a tensor's numbers are the k largest by magnitude, exactly, without sorting.
//
// A float's bits without the sign are ordered as its magnitude. Of a large tensor a pass over a sixty-fourth of it
// tells about where the k-th largest lies; a pass over all counts what lies above that window, and each magnitude in
// it, which gives the k-th largest itself. If it does not lie there (or the tensor is small) two passes find it without
// a guess: the first counts by the upper 16 bits, the second counts the group where the k-th largest lies by the lower
// 16 bits.
//
// Of the numbers that equal the k-th largest those with the lowest index are taken. Where not all of them are, they are
// counted while the result is made: tile after tile, each when it is about to be read anyway.
//
// A pass is a read of the tensor by all threads; counts have no order, so nothing depends on which thread counted what.
//
// Thread-safe: Count for different blocks, Add, Ties, Keep; Advance by one thread while nothing else runs.
#ifndef EDITD_PLUGINS_MERGE_RANK_SELECT_H_
#define EDITD_PLUGINS_MERGE_RANK_SELECT_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include "plugins/lib/kernels/blocks.h"

namespace editd::merge {

class RankSelect {
 public:
  struct Options {
    bool exact_ties = true;     // False: only the k-th largest is found (Key).
    int64_t sampled = 1 << 18;  // From so many elements on the guess is worth its pass.
  };
  // Finds, for each of `counts`, that many largest of `elements` numbers, which come in blocks of `block`.
  RankSelect(std::vector<int64_t> counts, int64_t elements, int64_t block, Options options);
  RankSelect(std::vector<int64_t> counts, int64_t elements, int64_t block)
      : RankSelect(std::move(counts), elements, block, Options()) {}

  // Before the first pass and after each: true if another pass over all blocks is needed.
  bool Advance();
  // How many of the block's n numbers this pass wants: the first ones.
  size_t Wanted(int64_t begin, size_t n) const;
  // A thread counts into words of its own, which are zero before and are added after.
  size_t words() const;
  void Count(const float* x, int64_t begin, size_t n, uint32_t* words);
  void Add(uint32_t* words);
  // Other counts than the constructor's; before the first pass has been advanced past.
  void SetCounts(const std::vector<int64_t>& counts);

  // The magnitude's bits of the k-th largest.
  uint32_t Key(size_t cut) const { return cuts_[cut].key; }

  // Before Keep for elements begin .. end: calls begin in the tensor's order, on any threads. load(begin, n) gives a
  // block's numbers. If there are ties it waits for the calls before.
  template <typename Load>
  void Ties(int64_t begin, int64_t end, const Load& load) {
    for (const std::unique_ptr<Tie>& tie : ties_) {
      if (tie == nullptr || tie->block.load(std::memory_order_acquire) >= 0) continue;
      std::vector<uint32_t> equal;
      for (int64_t at = begin; at < end; at += block_) {
        const size_t n = static_cast<size_t>(std::min(block_, end - at));
        equal.push_back(static_cast<uint32_t>(kernels::ForThisMachine().count_equal(load(at, n), tie->key, n)));
      }
      Place(tie.get(), begin, end, equal);
    }
  }
  // Zero in x (the block at `begin`): all but those among the k largest of `cut`; with `but`, also those among that
  // cut's.
  void Keep(size_t cut, float* x, int64_t begin, size_t n) const { Zero(cut, cuts_.size(), x, begin, n); }
  void KeepWithout(size_t cut, size_t but, float* x, int64_t begin, size_t n) const { Zero(cut, but, x, begin, n); }

 private:
  enum class Pass { kNone, kSample, kWindow, kHigh, kLow, kDone };
  struct Cut {
    int64_t count = 0;
    uint32_t key = 0;
    int64_t above = 0;            // Numbers larger than any of the group, later than the key.
    int64_t equal = 0;            // Numbers that equal the key.
    bool open = false;            // Not yet known.
    uint32_t least = 0, end = 0;  // The window.
    bool zeros = false;           // It goes down to zero, and zeros are not counted.
  };
  // Of the numbers that equal a cut's key, `wanted` are taken.
  struct Tie {
    uint32_t key = 0;
    int64_t wanted = 0;
    std::mutex mutex;  // Guards next and seen; moved is told when they change.
    std::condition_variable moved;
    int64_t next = 0;  // All before this element is counted ...
    int64_t seen = 0;  // ... and has so many.
    // The block in which the last one is taken, and how many there; -1 while that lies ahead.
    std::atomic<int64_t> block = -1;
    int64_t here = 0;
  };
  // Counts of each magnitude in a cut's window. Two, so that threads seldom wait for each other.
  struct Free {
    void operator()(uint32_t* p) const { std::free(p); }
  };
  struct Table {
    std::mutex mutex;
    std::unique_ptr<uint32_t[], Free> counts;
    std::array<uint64_t, 8> groups = {};  // Sums of 65,536 counts.
  };

  bool Open() const;
  void SetWindows();
  bool FindInWindow(size_t cut);
  void Flush(size_t cut, uint32_t* words);
  void FindTies();
  void Place(Tie* tie, int64_t begin, int64_t end, const std::vector<uint32_t>& equal);
  void Zero(size_t cut, size_t but, float* x, int64_t begin, size_t n) const;

  const int64_t elements_, block_;
  const Options options_;
  std::vector<Cut> cuts_;
  std::vector<std::unique_ptr<Tie>> ties_;  // A cut each; null if it has none.
  Pass pass_ = Pass::kNone;
  std::mutex mutex_;  // Guards totals_ and the cuts' `above` while a pass runs.
  std::vector<uint64_t> totals_;
  std::vector<std::array<Table, 2>> tables_;  // A cut each.
};

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_RANK_SELECT_H_
