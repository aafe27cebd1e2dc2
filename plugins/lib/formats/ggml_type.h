// The element types of GGUF files. A quantised type packs `block` elements of a row into `bytes` bytes.
#ifndef EDITD_PLUGINS_LIB_FORMATS_GGML_TYPE_H_
#define EDITD_PLUGINS_LIB_FORMATS_GGML_TYPE_H_

#include <cstdint>
#include <string_view>

namespace editd::formats {

// The numbers are the format's.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
};

struct GgmlTypeTraits {
  GgmlType type;
  std::string_view name;
  uint32_t block;  // Elements.
  uint32_t bytes;  // Of a block.
};

inline constexpr GgmlTypeTraits kGgmlTypes[] = {
    {GgmlType::kF32, "F32", 1, 4},       {GgmlType::kF16, "F16", 1, 2},       {GgmlType::kBF16, "BF16", 1, 2},
    {GgmlType::kQ4_0, "Q4_0", 32, 18},   {GgmlType::kQ4_1, "Q4_1", 32, 20},   {GgmlType::kQ5_0, "Q5_0", 32, 22},
    {GgmlType::kQ5_1, "Q5_1", 32, 24},   {GgmlType::kQ8_0, "Q8_0", 32, 34},   {GgmlType::kQ2_K, "Q2_K", 256, 84},
    {GgmlType::kQ3_K, "Q3_K", 256, 110}, {GgmlType::kQ4_K, "Q4_K", 256, 144}, {GgmlType::kQ5_K, "Q5_K", 256, 176},
    {GgmlType::kQ6_K, "Q6_K", 256, 210},
};

// Null if the type is not supported.
inline constexpr const GgmlTypeTraits* FindGgmlType(uint32_t number) {
  for (const GgmlTypeTraits& traits : kGgmlTypes) {
    if (static_cast<uint32_t>(traits.type) == number) return &traits;
  }
  return nullptr;
}
inline constexpr const GgmlTypeTraits& TraitsOf(GgmlType type) { return *FindGgmlType(static_cast<uint32_t>(type)); }

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_GGML_TYPE_H_
