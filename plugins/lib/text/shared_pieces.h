// What short pieces became in any of a tokenizer's encoders: a thread that meets a word for the first time need not
// merge it if another one, or an earlier encoder, has.
//
// The second level behind PieceCache, of fixed size, that only ever fills. It is asked a few times a distinct word, so
// it need not be as quick, only free of locks. Half full it takes no more: what an encoder's own cache has forgotten,
// or what it never took, is merged again.
//
// Thread-safe. A slot is taken by making its key's high word kTaken, and given out by making it the key's.
#ifndef EDITD_PLUGINS_LIB_TEXT_SHARED_PIECES_H_
#define EDITD_PLUGINS_LIB_TEXT_SHARED_PIECES_H_

#include <atomic>
#include <mutex>

#include "plugins/lib/text/bpe.h"
#include "plugins/lib/text/huge_array.h"
#include "plugins/lib/text/piece_cache.h"

namespace editd::text {

class SharedPieces {
 public:
  static constexpr size_t kSlots = 1 << 17, kMostIds = 11;  // 8 MB.

  // To be called before the others, as often as one likes: a tokenizer that encodes nothing needs no memory.
  void Open() {
    std::call_once(opened_, [this] { slots_ = HugeArray<Slot>(kSlots); });
  }

  // Puts a piece's ids into ids[0 .. kMostIds) and returns how many; 0 if they are not known.
  size_t Find(const PieceKey& key, TokenId* ids) const {
    for (size_t i = Place(key);; i = (i + 1) & (kSlots - 1)) {
      const Slot& slot = slots_[i];
      const uint64_t high = slot.high.load(std::memory_order_acquire);
      if (high == 0) return 0;
      if (high != key.high || slot.low.load(std::memory_order_relaxed) != key.low) continue;
      const uint32_t count = slot.count.load(std::memory_order_relaxed);
      for (size_t k = 0; k < count; ++k) ids[k] = slot.ids[k].load(std::memory_order_relaxed);
      return count;
    }
  }

  // Pieces of no or more than kMostIds ids are left out. A piece that two threads insert at once may be there twice.
  void Insert(const PieceKey& key, const TokenId* ids, size_t count) {
    if (count == 0 || count > kMostIds) return;
    if (size_.load(std::memory_order_relaxed) >= kSlots / 2) return;
    for (size_t i = Place(key);; i = (i + 1) & (kSlots - 1)) {
      Slot& slot = slots_[i];
      uint64_t high = 0;
      if (!slot.high.compare_exchange_strong(high, kTaken, std::memory_order_acquire)) continue;
      slot.low.store(key.low, std::memory_order_relaxed);
      for (size_t k = 0; k < count; ++k) slot.ids[k].store(ids[k], std::memory_order_relaxed);
      slot.count.store(static_cast<uint32_t>(count), std::memory_order_relaxed);
      slot.high.store(key.high, std::memory_order_release);
      size_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  }

  size_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kTaken = 1;  // No key's: those have their size in the highest byte.

  struct Slot {
    std::atomic<uint64_t> low = 0, high = 0;  // high == 0: empty.
    std::atomic<uint32_t> count = 0;
    std::atomic<TokenId> ids[kMostIds] = {};
  };
  static_assert(sizeof(Slot) == 64);

  size_t Place(const PieceKey& key) const { return key.Hash(secret_) & (kSlots - 1); }

  const uint64_t secret_ = HashSecret();
  std::once_flag opened_;
  HugeArray<Slot> slots_;
  std::atomic<size_t> size_ = 0;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_SHARED_PIECES_H_
