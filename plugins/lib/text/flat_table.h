// Two flat hash tables: 64-bit keys to 64-bit values, and strings to ids. Open addressing, linear probing, a power of
// two of slots, at most half full; no erasing. Keys come from files that nobody vouches for, so hashes are mixed with a
// secret of the process.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_FLAT_TABLE_H_
#define EDITD_PLUGINS_LIB_TEXT_FLAT_TABLE_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

namespace editd::text {

uint64_t HashSecret();

inline uint64_t MixHash(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xe7037ed1a0b428dbu);
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t HashBytes(std::string_view bytes, uint64_t secret) {
  uint64_t hash = secret ^ bytes.size();
  const char* p = bytes.data();
  size_t left = bytes.size();
  while (left > 0) {
    uint64_t word = 0;
    const size_t take = left < 8 ? left : 8;
    std::memcpy(&word, p, take);
    hash = MixHash(hash, word);
    p += take;
    left -= take;
  }
  return MixHash(hash, secret);
}

class PairTable {
 public:
  static constexpr uint64_t kNoKey = ~uint64_t{0};  // No key may be this.

  PairTable() { Reserve(8); }

  void Reserve(size_t count) {
    std::vector<Slot> old(std::bit_ceil(count * 2 + 2), Slot{kNoKey, 0});
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.key != kNoKey) *Find(slot.key) = slot;
    }
  }

  // Returns false, and changes nothing, if the key is there.
  bool Insert(uint64_t key, uint64_t value) {
    if ((size_ + 1) * 2 > slots_.size()) Reserve(slots_.size());
    Slot* slot = Find(key);
    if (slot->key == key) return false;
    *slot = {key, value};
    ++size_;
    return true;
  }

  const uint64_t* Get(uint64_t key) const {
    const Slot* slot = const_cast<PairTable*>(this)->Find(key);
    return slot->key == key ? &slot->value : nullptr;
  }
  uint64_t* Get(uint64_t key) { return const_cast<uint64_t*>(static_cast<const PairTable*>(this)->Get(key)); }

  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t key, value;
  };

  Slot* Find(uint64_t key) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = MixHash(key, secret_) & mask;; i = (i + 1) & mask) {
      if (slots_[i].key == key || slots_[i].key == kNoKey) return &slots_[i];
    }
  }

  uint64_t secret_ = HashSecret();
  std::vector<Slot> slots_;
  size_t size_ = 0;
};

// The strings belong to the caller and must outlive the table.
class StringTable {
 public:
  StringTable() { Reserve(8); }

  void Reserve(size_t count) {
    std::vector<Slot> old(std::bit_ceil(count * 2 + 2));
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.data) *Find({slot.data, slot.size}, slot.hash) = slot;
    }
  }

  // Returns false, and changes nothing, if the string is there.
  bool Insert(std::string_view key, uint32_t id) {
    if ((size_ + 1) * 2 > slots_.size()) Reserve(slots_.size());
    const auto hash = static_cast<uint32_t>(HashBytes(key, secret_));
    Slot* slot = Find(key, hash);
    if (slot->data) return false;
    *slot = {key.data() ? key.data() : "", static_cast<uint32_t>(key.size()), id, hash};
    ++size_;
    return true;
  }

  std::optional<uint32_t> Get(std::string_view key) const {
    const Slot* slot = const_cast<StringTable*>(this)->Find(key, static_cast<uint32_t>(HashBytes(key, secret_)));
    if (!slot->data) return std::nullopt;
    return slot->id;
  }

  size_t size() const { return size_; }

 private:
  struct Slot {
    const char* data = nullptr;
    uint32_t size = 0, id = 0, hash = 0;
  };

  Slot* Find(std::string_view key, uint32_t hash) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      Slot& slot = slots_[i];
      if (!slot.data) return &slot;
      if (slot.hash == hash && slot.size == key.size() && std::memcmp(slot.data, key.data(), key.size()) == 0)
        return &slot;
    }
  }

  uint64_t secret_ = HashSecret();
  std::vector<Slot> slots_;
  size_t size_ = 0;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_FLAT_TABLE_H_
