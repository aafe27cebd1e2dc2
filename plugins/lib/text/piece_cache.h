// What pre-tokens became, so that a word is merged once: words repeat (Zipf), and a look here costs less than one
// merge.
//
// Two open-addressing tables: pieces up to 15 bytes with their key and up to three ids in one slot of half a cache
// line, and pieces up to 4096 bytes (rows of dashes) with keys apart. Longer ones are not kept. When a table is full
// all is forgotten: kMostBytes is never exceeded.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_PIECE_CACHE_H_
#define EDITD_PLUGINS_LIB_TEXT_PIECE_CACHE_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/lib/text/bpe.h"
#include "plugins/lib/text/flat_table.h"
#include "plugins/lib/text/huge_array.h"

namespace editd::text {

// The first `size` of sixteen bytes, as two words.
struct FirstBytes {
  uint64_t low, high;
  constexpr explicit FirstBytes(size_t size) : low(First(size)), high(size > 8 ? First(size - 8) : 0) {}
  static constexpr uint64_t First(size_t n) { return n >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * n)) - 1; }
};
inline constexpr auto kFirstBytes = []<size_t... size>(std::index_sequence<size...>) {
  return std::array<FirstBytes, sizeof...(size)>{FirstBytes(size)...};
}
(std::make_index_sequence<16>());

// A piece of up to kMost bytes: the bytes, zeros behind them, and the size plus one in the highest byte.
struct PieceKey {
  uint64_t low = 0, high = 0;  // high == 0: no piece.

  static constexpr size_t kMost = 15;

  // Of the `size` bytes at `p`, at most kMost; sixteen may be read.
  static PieceKey At(const char* p, size_t size) {
    PieceKey key;
    std::memcpy(&key.low, p, 8);
    std::memcpy(&key.high, p + 8, 8);
    key.low &= kFirstBytes[size].low;
    key.high = (key.high & kFirstBytes[size].high) | static_cast<uint64_t>(size + 1) << 56;
    return key;
  }
  // The same without reading beyond the piece.
  static PieceKey Of(std::string_view piece) {
    const size_t n = piece.size();
    PieceKey key{LoadBytes(piece.data(), n), static_cast<uint64_t>(n + 1) << 56};
    if (n > 8) key.high |= LoadBytes(piece.data() + n - 8, 8) >> (8 * (16 - n));
    return key;
  }

  bool operator==(const PieceKey& other) const { return low == other.low && high == other.high; }
  uint64_t Hash(uint64_t secret) const { return MixHash(low ^ secret, high); }
};

class PieceCache {
 public:
  // kCopied may be read at `data`, however many count.
  struct Ids {
    const TokenId* data = nullptr;  // Null: not there. Valid until the next Insert.
    size_t size = 0;
  };
  static constexpr size_t kInline = 3, kCopied = 4;
  static constexpr size_t kLongKey = 4096;

  PieceCache() { Clear(); }

  void Clear() {
    short_ = Slots(kFirstShort, ShortSlot{});
    long_.assign(kFirstLong, LongSlot{});
    short_size_ = long_size_ = 0;
    keys_.clear();
    ids_.clear();
  }

  // `hash` is HashOf(key).
  uint64_t HashOf(const PieceKey& key) const { return key.Hash(secret_); }
  void Prefetch(uint64_t hash) const { __builtin_prefetch(&short_[hash & (short_.size() - 1)]); }

  // The kCopied ids of a short piece in place, `*count` of which count; null if they are not there or more than
  // kInline.
  const TokenId* FindShort(const PieceKey& key, uint64_t hash, size_t* count) const {
    const ShortSlot& slot = *Find(short_, key, hash);
    *count = slot.count();
    return slot.key.high != 0 && slot.count() <= kInline ? slot.ids : nullptr;
  }

  Ids Find(std::string_view piece) const {
    if (piece.size() <= PieceKey::kMost) {
      const PieceKey key = PieceKey::Of(piece);
      const ShortSlot& slot = *Find(short_, key, HashOf(key));
      if (slot.key.high == 0) return {};
      if (slot.count() <= kInline) return {slot.ids, slot.count()};
      return {ids_.data() + slot.ids[0], slot.count()};
    }
    if (piece.size() > kLongKey) return {};
    const LongSlot& slot = long_[FindLong(piece, HashBytes(piece, secret_))];
    if (slot.key_size == 0) return {};
    return {ids_.data() + slot.ids, slot.count};
  }

  // `piece` must not be there. Pieces that are too long are left out.
  void Insert(std::string_view piece, const TokenId* ids, size_t count) {
    if (piece.size() > kLongKey) return;
    const size_t apart = keys_.size() + piece.size() + (ids_.size() + count + kCopied) * sizeof(TokenId);
    if (short_size_ * 2 >= kMostShort || long_size_ * 2 >= kMostLong || apart > kMostApart) Clear();
    if (piece.size() <= PieceKey::kMost) {
      if (++short_size_ * 2 > short_.size()) GrowShort();
      const PieceKey key = PieceKey::Of(piece);
      ShortSlot& slot = *const_cast<ShortSlot*>(Find(short_, key, HashOf(key)));
      slot.key = key;
      slot.count() = static_cast<uint32_t>(count);
      if (count <= kInline) {
        std::copy(ids, ids + count, slot.ids);
      } else {
        slot.ids[0] = static_cast<uint32_t>(ids_.size());
        AppendIds(ids, count);
      }
      return;
    }
    if (++long_size_ * 2 > long_.size()) GrowLong();
    const uint64_t hash = HashBytes(piece, secret_);
    LongSlot& slot = long_[FindLong(piece, hash)];
    slot = {hash, static_cast<uint32_t>(keys_.size()), static_cast<uint32_t>(ids_.size()),
            static_cast<uint16_t>(piece.size()), static_cast<uint16_t>(count)};
    keys_.append(piece);
    AppendIds(ids, count);
  }

  // What it occupies.
  size_t bytes() const {
    return short_.size() * sizeof(ShortSlot) + long_.capacity() * sizeof(LongSlot) + keys_.capacity() +
           ids_.capacity() * sizeof(TokenId);
  }

 private:
  struct ShortSlot {
    PieceKey key;
    TokenId ids[kCopied] = {};  // More than kInline: ids[0] is their place in ids_. The last is how many they are.
    uint32_t& count() { return ids[kInline]; }
    uint32_t count() const { return ids[kInline]; }
  };
  struct LongSlot {
    uint64_t hash = 0;
    uint32_t key = 0, ids = 0;
    uint16_t key_size = 0, count = 0;  // key_size == 0: empty.
  };

  using Slots = HugeArray<ShortSlot>;  // A power of two of them.

  static constexpr size_t kFirstShort = 1 << 12, kMostShort = 1 << 18;
  static constexpr size_t kFirstLong = 1 << 8, kMostLong = 1 << 16;
  static constexpr size_t kMostApart = 4 << 20;  // Of keys_ and ids_, which may have room for twice that.

 public:
  static constexpr size_t kMostBytes = kMostShort * sizeof(ShortSlot) + kMostLong * sizeof(LongSlot) + 2 * kMostApart;

 private:
  static const ShortSlot* Find(const Slots& slots, const PieceKey& key, uint64_t hash) {
    const size_t mask = slots.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      const ShortSlot& slot = slots[i];
      if (slot.key == key || slot.key.high == 0) return &slot;
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

  void AppendIds(const TokenId* ids, size_t count) {
    ids_.insert(ids_.end(), ids, ids + count);
    ids_.resize(ids_.size() + (count < kCopied ? kCopied - count : 0));
  }

  void GrowShort() {
    Slots larger(std::min(short_.size() * 4, kMostShort), ShortSlot{});
    for (size_t i = 0; i < short_.size(); ++i) {
      const ShortSlot& slot = short_[i];
      if (slot.key.high != 0) *const_cast<ShortSlot*>(Find(larger, slot.key, HashOf(slot.key))) = slot;
    }
    short_ = std::move(larger);
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
  Slots short_;
  std::vector<LongSlot> long_;
  size_t short_size_ = 0, long_size_ = 0;
  std::string keys_;
  std::vector<TokenId> ids_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_PIECE_CACHE_H_
