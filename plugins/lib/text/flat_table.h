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

// Up to eight bytes as a word, without reading beyond them.
inline uint64_t LoadBytes(const char* p, size_t size) {
  uint64_t word = 0;
  if (size >= 8) {
    std::memcpy(&word, p, 8);
    return word;
  }
  if (size >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + size - 4, 4);
    return low | static_cast<uint64_t>(high) << (8 * (size - 4));
  }
  if (size == 0) return 0;
  auto byte = [p](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i); };
  return byte(0) | byte(size / 2) | byte(size - 1);
}

inline uint64_t HashBytes(std::string_view bytes, uint64_t secret) {
  uint64_t hash = secret ^ bytes.size();
  const char* p = bytes.data();
  size_t left = bytes.size();
  for (; left > 8; p += 8, left -= 8) hash = MixHash(hash, LoadBytes(p, 8));
  return MixHash(hash, LoadBytes(p, left));
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

// The strings lie in one block of memory, below 4 GiB, that belongs to the caller and must outlive the table and stay
// where it is.
class StringTable {
 public:
  // Forgets all.
  void Reset(const char* block, size_t count) {
    block_ = block;
    slots_.assign(std::bit_ceil(count * 2 + 2), Slot{});
  }

  uint64_t Hash(std::string_view key) const { return HashBytes(key, secret_); }
  void Prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]); }

  // `key` lies in the block; no more keys than Reset was told. Returns false, and changes nothing, if it is there.
  bool Insert(std::string_view key, uint32_t id) {
    const uint64_t hash = Hash(key);
    Slot* slot = Find(key, hash);
    if (slot->size != 0) return false;
    *slot = {Tag(hash), static_cast<uint32_t>(key.data() - block_), static_cast<uint32_t>(key.size() + 1), id};
    return true;
  }

  std::optional<uint32_t> Get(std::string_view key) const { return Get(key, Hash(key)); }
  std::optional<uint32_t> Get(std::string_view key, uint64_t hash) const {
    if (slots_.empty()) return std::nullopt;
    const Slot* slot = const_cast<StringTable*>(this)->Find(key, hash);
    if (slot->size == 0) return std::nullopt;
    return slot->id;
  }

 private:
  struct Slot {
    uint32_t tag = 0, begin = 0;
    uint32_t size = 0;  // Plus one; 0: empty.
    uint32_t id = 0;
  };

  static uint32_t Tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }

  Slot* Find(std::string_view key, uint64_t hash) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
      Slot& slot = slots_[i];
      if (slot.size == 0) return &slot;
      if (slot.tag == Tag(hash) && slot.size == key.size() + 1 &&
          std::memcmp(block_ + slot.begin, key.data(), key.size()) == 0) {
        return &slot;
      }
    }
  }

  uint64_t secret_ = HashSecret();
  const char* block_ = nullptr;
  std::vector<Slot> slots_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_FLAT_TABLE_H_
