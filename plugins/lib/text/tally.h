// Tally: how often each token occurred, in little memory while it is counted.
//
// It counts in numbers of 32 bits: of a large vocabulary's tokens they take half as much of a core's cache as 64 bits
// would, and cache is what counting waits for. Before one could overflow, all move on into 64 bits.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_TALLY_H_
#define EDITD_PLUGINS_LIB_TEXT_TALLY_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "plugins/lib/text/bpe.h"

namespace editd::text {

class Tally {
 public:
  // Of ids below `tokens`. `most`: occurrences before they move on; smaller in tests.
  explicit Tally(size_t tokens, uint64_t most = std::numeric_limits<uint32_t>::max())
      : recent_(tokens), most_(most), room_(most) {}

  void Add(const TokenId* ids, size_t count) {
    if (count > room_) MoveOn();
    room_ -= count;
    for (size_t i = 0; i < count; ++i) ++recent_[ids[i]];
  }

  // Adds to (*counts)[id], one for each id.
  void AddTo(std::vector<uint64_t>* counts) const {
    for (size_t id = 0; id < recent_.size(); ++id) (*counts)[id] += recent_[id] + (old_.empty() ? 0 : old_[id]);
  }

 private:
  void MoveOn() {
    old_.resize(recent_.size());
    for (size_t id = 0; id < recent_.size(); ++id) old_[id] += recent_[id];
    recent_.assign(recent_.size(), 0);
    room_ = most_;
  }

  std::vector<uint32_t> recent_;
  std::vector<uint64_t> old_;  // Empty until it is needed.
  const uint64_t most_;
  uint64_t room_;  // For so many more until one of recent_ could be full.
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_TALLY_H_
