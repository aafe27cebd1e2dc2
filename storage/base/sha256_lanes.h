// SHA-256 of several chunks at once, on one core.
//
// The processor's SHA-256 instructions wait for each other within one message: four messages in turns fill the gaps, at
// 1.6 times the speed of one after the other. The leaves of a content tree are such messages.
//
// Thread-safe.
#ifndef EDITD_STORAGE_BASE_SHA256_LANES_H_
#define EDITD_STORAGE_BASE_SHA256_LANES_H_

#include <span>
#include <string_view>

#include "storage/base/id.h"

namespace editd {

// As many chunks as gain from being hashed together.
inline constexpr size_t kSha256Lanes = 4;

// ids[i] = SHA-256(mark, chunks[i]). Any number of chunks, of any sizes; at least two of about the same size gain.
// False, and nothing done, if the processor has no such instructions.
bool Sha256Marked(char mark, std::span<const std::string_view> chunks, Id* ids);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_SHA256_LANES_H_
