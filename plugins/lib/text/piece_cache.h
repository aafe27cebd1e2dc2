// What pre-tokens became, so that a word is merged once: words repeat (Zipf), and a look here costs less than one
// merge.
//
// Two open-addressing tables: pieces up to 15 bytes with their key and up to three ids in one slot of half a cache
// line, and pieces up to 63 bytes with keys apart. Longer ones are not kept. When a table is full all is forgotten.
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_PIECE_CACHE_H_
#define EDITD_PLUGINS_LIB_TEXT_PIECE_CACHE_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/text/bpe.h"
#include "plugins/lib/text/flat_table.h"

namespace editd::text {

class PieceCache {
 public:
  // Three may be read at `data`, however many count.
  struct Ids {
    const TokenId* data = nullptr;  // Null: not there. Valid until the next Insert.
    size_t size = 0;
  };

  PieceCache() { Clear(); }

  void Clear() {
    short_.assign(kFirstSlots, ShortSlot{});
    long_.assign(kFirstSlots, LongSlot{});
    short_size_ = long_size_ = 0;
    keys_.clear();
    ids_.clear();
  }

  Ids Find(std::string_view piece) const {
    if (piece.size() <= kShortKey) {
      const ShortSlot& slot = short_[FindShort(short_, KeyOf(piece))];
      if (slot.high == 0) return {};
      if (slot.count <= kInline) return {slot.ids, slot.count};
      return {ids_.data() + slot.ids[0], slot.count};
    }
    if (piece.size() > kLongKey) return {};
    const LongSlot& slot = long_[FindLong(piece, HashBytes(piece, secret_))];
    if (slot.key_size == 0) return {};
    return {ids_.data() + slot.ids, slot.count};
  }

  // The bytes of a short piece, and its size.
  struct Key {
    uint64_t low, high;  // The bytes, and the size plus one in the highest byte.
  };
  static constexpr size_t kShortKey = 15, kInline = 3;

  // The key of the `size` bytes at `p`, at most kShortKey; sixteen may be read.
  static Key KeyAt(const char* p, size_t size) {
    Key key;
    std::memcpy(&key.low, p, 8);
    std::memcpy(&key.high, p + 8, 8);
    const uint64_t all = ~uint64_t{0};
    const bool is_long = size >= 8;
    const uint64_t mask = (uint64_t{1} << (8 * (size & 7))) - 1;
    key.low &= is_long ? all : mask;
    key.high = (is_long ? key.high & mask : 0) | static_cast<uint64_t>(size + 1) << 56;
    return key;
  }

  // The three ids of a short piece (fewer count) in place; null if they are not there or more.
  const TokenId* FindShort(const Key& key, size_t* count) const {
    const ShortSlot& slot = short_[FindShort(short_, key)];
    *count = slot.count;
    return slot.high != 0 && slot.count <= kInline ? slot.ids : nullptr;
  }

  // `piece` must not be there. Pieces that are too long are left out.
  void Insert(std::string_view piece, const TokenId* ids, size_t count) {
    if (piece.size() > kLongKey) return;
    if (short_size_ * 2 >= kMostSlots || long_size_ * 2 >= kMostSlots) Clear();
    if (piece.size() <= kShortKey) {
      if (++short_size_ * 2 > short_.size()) GrowShort();
      const Key key = KeyOf(piece);
      ShortSlot& slot = short_[FindShort(short_, key)];
      slot.low = key.low;
      slot.high = key.high;
      slot.count = static_cast<uint32_t>(count);
      if (count <= kInline) {
        std::copy(ids, ids + count, slot.ids);
      } else {
        slot.ids[0] = static_cast<uint32_t>(ids_.size());
        ids_.insert(ids_.end(), ids, ids + count);
      }
      return;
    }
    if (++long_size_ * 2 > long_.size()) GrowLong();
    const uint64_t hash = HashBytes(piece, secret_);
    LongSlot& slot = long_[FindLong(piece, hash)];
    slot = {hash, static_cast<uint32_t>(keys_.size()), static_cast<uint32_t>(ids_.size()),
            static_cast<uint16_t>(piece.size()), static_cast<uint16_t>(count)};
    keys_.append(piece);
    ids_.insert(ids_.end(), ids, ids + count);
    ids_.resize(ids_.size() + (count < kInline ? kInline - count : 0));
  }

 private:
  static constexpr size_t kLongKey = 63;
  static constexpr size_t kFirstSlots = 1 << 10, kMostSlots = 1 << 18;

  struct alignas(32) ShortSlot {
    uint64_t low = 0, high = 0;  // high == 0: empty.
    uint32_t count = 0;
    TokenId ids[kInline] = {};  // More than fit: ids[0] is their place in ids_.
  };
  struct LongSlot {
    uint64_t hash = 0;
    uint32_t key = 0, ids = 0;
    uint16_t key_size = 0, count = 0;  // key_size == 0: empty.
  };

  static Key KeyOf(std::string_view piece) {
    const size_t n = piece.size();
    Key key{LoadBytes(piece.data(), n), static_cast<uint64_t>(n + 1) << 56};
    if (n > 8) key.high |= LoadBytes(piece.data() + n - 8, 8) >> (8 * (16 - n));
    return key;
  }

  size_t FindShort(const std::vector<ShortSlot>& slots, const Key& key) const {
    const size_t mask = slots.size() - 1;
    for (size_t i = MixHash(key.low ^ secret_, key.high) & mask;; i = (i + 1) & mask) {
      if ((slots[i].low == key.low && slots[i].high == key.high) || slots[i].high == 0) return i;
    }
  }

  size_t FindLong(std::string_view piece, uint64_t hash) const {
    const size_t mask = long_.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      const LongSlot& slot = long_[i];
      if (slot.key_size == 0) return i;
      if (slot.hash == hash && slot.key_size == piece.size() &&
          std::memcmp(keys_.data() + slot.key, piece.data(), piece.size()) == 0) {
        return i;
      }
    }
  }

  void GrowShort() {
    std::vector<ShortSlot> larger(short_.size() * 2);
    for (const ShortSlot& slot : short_) {
      if (slot.high != 0) larger[FindShort(larger, {slot.low, slot.high})] = slot;
    }
    short_.swap(larger);
  }

  void GrowLong() {
    std::vector<LongSlot> old(long_.size() * 2);
    old.swap(long_);
    for (const LongSlot& slot : old) {
      if (slot.key_size == 0) continue;
      long_[FindLong(std::string_view(keys_).substr(slot.key, slot.key_size), slot.hash)] = slot;
    }
  }

  const uint64_t secret_ = HashSecret();
  std::vector<ShortSlot> short_;
  std::vector<LongSlot> long_;
  size_t short_size_ = 0, long_size_ = 0;
  std::string keys_;
  std::vector<TokenId> ids_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_PIECE_CACHE_H_
