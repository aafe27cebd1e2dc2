// Packs: immutable files that hold tensors. A pack is a valid safetensors file.
//
//   8 bytes   little-endian length H of the header
//   H bytes   header, JSON: {"<tensor id, 64 hex digits>":{"dtype":"BF16","shape":[3,4],"data_offsets":[0,24]},...},
//             filled with spaces so that 8 + H is a multiple of 4096
//   the rest  the tensors' bytes, each beginning at a multiple of 64
// Offsets count from the end of the header. The format allows no holes, so gaps are U8 tensors "__pad0", "__pad1", ...
// A pack's id is the SHA-256 of its first 8 + H bytes: they name the hash of every tensor, so the id covers them all.
//
// Functions are thread-safe.
#ifndef EDITD_STORAGE_BASE_PACK_H_
#define EDITD_STORAGE_BASE_PACK_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/dtype.h"
#include "storage/base/id.h"

namespace editd {

inline constexpr uint64_t kPackDataAlignment = 4096;
inline constexpr uint64_t kPackTensorAlignment = 64;
inline constexpr uint64_t kMaxPackHeaderBytes = 100'000'000;  // The limit of the safetensors library.

// A tensor in a pack.
struct PackTensor {
  Id id;
  DType dtype = DType::kU8;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // From the file's beginning.
  uint64_t size = 0;    // Bytes.
};

// What the beginning of a pack says.
struct PackHeader {
  Id id;                            // Of the pack.
  uint64_t data_offset;             // 8 + H
  uint64_t file_size;               // Where the last tensor ends.
  std::vector<PackTensor> tensors;  // By offset; padding left out.
};

// Product of `shape` times the element's size. INVALID_ARGUMENT for a negative extent or a product over 2^62.
absl::StatusOr<uint64_t> TensorBytes(DType dtype, const std::vector<int64_t>& shape);

// Reads a header from the bytes at a file's beginning: at least 8 + H of them. Accepts what PackWriter writes and
// nothing else: keys in the order above, offsets rising without holes, ids unique. DATA_LOSS tells what is wrong and at
// which byte. The tensors' bytes are not looked at.
absl::StatusOr<PackHeader> ParsePackHeader(std::string_view beginning);

// Reads the header of the file behind `fd` and checks that the file has just the bytes that it announces. `name` is for
// messages.
absl::StatusOr<PackHeader> ReadPackHeader(int fd, std::string_view name);

// The header for `tensors` (by offset from the data's beginning, not yet from the file's), followed by spaces so that
// 8 + H is exactly `room`, a multiple of 4096; if `room` is too small, the smallest multiple that does. With the
// length.
std::string FormatPackHeader(const std::vector<PackTensor>& tensors, uint64_t data_size, uint64_t room);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_PACK_H_
