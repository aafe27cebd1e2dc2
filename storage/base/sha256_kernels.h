// The compression function of SHA-256 (FIPS 180-4, 6.2.2) on several messages at once. Only sha256_lanes.cc calls it.
//
// Thread-safe.
#ifndef EDITD_STORAGE_BASE_SHA256_KERNELS_H_
#define EDITD_STORAGE_BASE_SHA256_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "storage/base/sha256_lanes.h"

namespace editd {

inline constexpr size_t kSha256Block = 64;     // Bytes.
inline constexpr size_t kShaInstructions = 4;  // Messages that fill the SHA-256 instructions' latency.

// The state of each message: words a to h, a column a lane.
struct alignas(64) Sha256States {
  uint32_t words[8][kMaxSha256Lanes];
};

// What this processor, and its operating system, can do.
bool HasShaInstructions();
bool HasAvx512();

// The next `blocks` blocks of each of `count` lanes, at most kShaInstructions; data[i] belongs to lane lanes[i].
void CompressByInstructions(Sha256States* states, const size_t* lanes, const char* const* data, size_t count,
                            size_t blocks);
// The next `blocks` blocks of all kMaxSha256Lanes lanes.
void CompressByAvx512(Sha256States* states, const char* const* data, size_t blocks);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_SHA256_KERNELS_H_
