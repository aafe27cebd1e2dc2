// Random bits by number: no state, so any element's bits can be had by any thread in any order.
//
// Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011). The key is the job's seed; the
// counter is (group, stream, name): `name` is the hash of a tensor's name, `stream` tells its inputs apart. A counter
// gives four words. Element i of a tensor takes word (i % 64) / 16 of counter i / 64 * 16 + i % 16, so that vectors of
// up to sixteen counters give their words in order.
#ifndef EDITD_PLUGINS_LIB_KERNELS_RANDOM_H_
#define EDITD_PLUGINS_LIB_KERNELS_RANDOM_H_

#include <array>
#include <cstdint>
#include <string_view>

namespace editd::kernels {

inline constexpr uint32_t kPhiloxMultiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
inline constexpr uint32_t kPhiloxWeyl[2] = {0x9E3779B9u, 0xBB67AE85u};

constexpr std::array<uint32_t, 4> Philox(std::array<uint32_t, 4> c, uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{kPhiloxMultiplier[0]} * c[0], p1 = uint64_t{kPhiloxMultiplier[1]} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += kPhiloxWeyl[0];
    k1 += kPhiloxWeyl[1];
  }
  return c;
}

// The 32 bits of element `index`. `name` from HashName, `stream` below 65536, `index` below 2^50.
constexpr uint32_t RandomBits(uint64_t seed, uint64_t name, uint32_t stream, uint64_t index) {
  const uint64_t counter = index / 64 * 16 + index % 16;
  return Philox({static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32) | stream << 16,
                 static_cast<uint32_t>(name), static_cast<uint32_t>(name >> 32)},
                static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32))[index % 64 / 16];
}

// FNV-1a, 64 bits.
constexpr uint64_t HashName(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

}  // namespace editd::kernels

#endif  // EDITD_PLUGINS_LIB_KERNELS_RANDOM_H_
