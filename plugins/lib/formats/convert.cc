#include "plugins/lib/formats/convert.h"

#include <bit>
#include <cstring>

#include "plugins/lib/formats/dequantize.h"
#include "plugins/lib/formats/target_clones.h"

namespace editd::formats {
namespace {

EDITD_FOR_EACH_CPU void ToBFloat16(const float* __restrict in, uint64_t count, uint16_t* __restrict out) {
  for (uint64_t i = 0; i < count; ++i) out[i] = FloatToBFloat16(in[i]);
}

// FloatToHalf with selections in place of branches.
EDITD_FOR_EACH_CPU void ToHalf(const float* __restrict in, uint64_t count, uint16_t* __restrict out) {
  for (uint64_t i = 0; i < count; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(in[i]);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    const uint32_t subnormal = std::bit_cast<uint32_t>(shifted) - 0x3f000000u;
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    half = magnitude > 0x7f800000u ? 0x7e00u | ((magnitude >> 13) & 0x3ffu) : half;
    out[i] = static_cast<uint16_t>((bits >> 16 & 0x8000u) | half);
  }
}

}  // namespace

void ToFloats(DType from, const void* in, uint64_t count, float* out) {
  const GgmlType type = from == DType::kF32 ? GgmlType::kF32 : from == DType::kF16 ? GgmlType::kF16 : GgmlType::kBF16;
  Dequantize(type, in, count, out);
}

void FromFloats(const float* in, uint64_t count, DType to, void* out) {
  if (to == DType::kF32) {
    std::memcpy(out, in, count * sizeof(float));
  } else if (to == DType::kF16) {
    ToHalf(in, count, static_cast<uint16_t*>(out));
  } else {
    ToBFloat16(in, count, static_cast<uint16_t*>(out));
  }
}

}  // namespace editd::formats
