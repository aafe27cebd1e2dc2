// An element is not finite when all bits of its exponent are set, so no arithmetic is needed: mask and compare. Blocks
// are tested as a whole (the loop without branches vectorises); only a block with a hit is searched element by element.
// F8_E4M3 has no infinity, and its one NaN has all bits but the sign set: the mask covers them.
#include "storage/base/finite.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace editd {
namespace {

constexpr size_t kBlock = 4096;  // Elements.

template <typename Bits>
std::optional<size_t> Find(const char* data, size_t count, Bits mask) {
  for (size_t begin = 0; begin < count; begin += kBlock) {
    const size_t end = std::min(count, begin + kBlock);
    Bits hits = 0;
    for (size_t i = begin; i < end; ++i) {
      Bits bits;
      std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
      hits |= static_cast<Bits>((bits & mask) == mask);
    }
    if (hits == 0) continue;
    for (size_t i = begin; i < end; ++i) {
      Bits bits;
      std::memcpy(&bits, data + i * sizeof(Bits), sizeof(Bits));
      if ((bits & mask) == mask) return i;
    }
  }
  return std::nullopt;
}

template <typename Bits>
bool MantissaSet(const char* data, Bits mask) {
  Bits bits;
  std::memcpy(&bits, data, sizeof(bits));
  return (bits & mask) != 0;
}

}  // namespace

std::optional<size_t> FindNonFinite(DType dtype, const char* data, size_t bytes) {
  switch (dtype) {
    case DType::kF64:
      return Find<uint64_t>(data, bytes / 8, 0x7ff0000000000000u);
    case DType::kF32:
      return Find<uint32_t>(data, bytes / 4, 0x7f800000u);
    case DType::kF16:
      return Find<uint16_t>(data, bytes / 2, 0x7c00u);
    case DType::kBF16:
      return Find<uint16_t>(data, bytes / 2, 0x7f80u);
    case DType::kF8E4M3:
      return Find<uint8_t>(data, bytes, 0x7fu);
    case DType::kF8E5M2:
      return Find<uint8_t>(data, bytes, 0x7cu);
    default:
      return std::nullopt;
  }
}

bool IsNan(DType dtype, const char* data) {
  if (!FindNonFinite(dtype, data, DTypeBytes(dtype)).has_value()) return false;
  switch (dtype) {
    case DType::kF64:
      return MantissaSet<uint64_t>(data, 0x000fffffffffffffu);
    case DType::kF32:
      return MantissaSet<uint32_t>(data, 0x007fffffu);
    case DType::kF16:
      return MantissaSet<uint16_t>(data, 0x03ffu);
    case DType::kBF16:
      return MantissaSet<uint16_t>(data, 0x007fu);
    case DType::kF8E5M2:
      return MantissaSet<uint8_t>(data, 0x03u);
    default:
      return true;
  }
}

}  // namespace editd
