// Element types of tensors, named as the safetensors format names them, and exact conversions of single elements.
#ifndef EDITD_STORAGE_BASE_DTYPE_H_
#define EDITD_STORAGE_BASE_DTYPE_H_

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace editd {

enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU64,
  kU32,
  kU16,
  kU8,
  kBool,
  kF8E4M3,
  kF8E5M2
};

struct DTypeTraits {
  std::string_view name;  // "BF16"
  uint8_t bytes;          // Of one element.
  bool floating;
};

// Indexed by DType.
inline constexpr DTypeTraits kDTypes[] = {
    {"F64", 8, true},  {"F32", 4, true},  {"F16", 2, true},   {"BF16", 2, true},    {"I64", 8, false},
    {"I32", 4, false}, {"I16", 2, false}, {"I8", 1, false},   {"U64", 8, false},    {"U32", 4, false},
    {"U16", 2, false}, {"U8", 1, false},  {"BOOL", 1, false}, {"F8_E4M3", 1, true}, {"F8_E5M2", 1, true},
};

inline constexpr std::string_view DTypeName(DType type) { return kDTypes[static_cast<int>(type)].name; }
inline constexpr size_t DTypeBytes(DType type) { return kDTypes[static_cast<int>(type)].bytes; }
inline constexpr std::optional<DType> DTypeFromName(std::string_view name) {
  for (int i = 0; i < static_cast<int>(std::size(kDTypes)); ++i) {
    if (kDTypes[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

inline float BFloat16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Rounds to nearest, ties to even; NaN stays NaN (quiet).
inline uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// IEEE binary16, subnormals, infinities and NaN included.
inline float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  if (magnitude >= 0x0400u) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000u));
  const float value = static_cast<float>(magnitude) * 0x1p-24f;  // Exact: at most 10 bits.
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

// Rounds to nearest, ties to even; too large becomes infinity, NaN stays NaN (quiet).
inline uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and above.
  if (magnitude < 0x38800000u) {                                               // Subnormal: below 2^-14.
    const float scaled = std::bit_cast<float>(magnitude) + 0.5f;  // The addition rounds to a step of 2^-24.
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(scaled) - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_DTYPE_H_
