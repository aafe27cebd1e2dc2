// Whole blocks to floats.
//
// Each function decodes one kind of block: fixed trip counts and no branches in the inner loops, so that the compiler
// vectorises them (it is compiled with -O3), once for each instruction set below; the loader picks the best. The file
// is compiled with -ffp-contract=off: a fused multiply-add would round once where the reference rounds twice. Layouts
// are those of llama.cpp's ggml-quants.c; l runs within a group, g over groups.
#include "plugins/lib/formats/dequantize.h"

#include <bit>
#include <cstring>

#include "plugins/lib/formats/target_clones.h"
#include "storage/base/dtype.h"

namespace editd::formats {
namespace {

inline float Half(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  return HalfToFloat(bits);
}

EDITD_FOR_EACH_CPU void DequantizeF16(const uint8_t* __restrict in, uint64_t count, float* __restrict out) {
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, in + 2 * i, 2);
    // HalfToFloat without branches: the exponent moves by a multiplication, which is exact, subnormals included.
    const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
    const uint32_t magnitude = static_cast<uint32_t>(bits & 0x7fffu) << 13;
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p112f;
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;  // Infinity and NaN.
    out[i] = std::bit_cast<float>(sign | special | std::bit_cast<uint32_t>(scaled));
  }
}

EDITD_FOR_EACH_CPU void DequantizeBF16(const uint8_t* __restrict in, uint64_t count, float* __restrict out) {
  for (uint64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, in + 2 * i, 2);
    out[i] = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }
}

EDITD_FOR_EACH_CPU void DequantizeQ4_0(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 18, out += 32) {
    const float d = Half(in);
    const uint8_t* q = in + 2;
    for (int l = 0; l < 16; ++l) out[l] = d * static_cast<float>((q[l] & 15) - 8);
    for (int l = 0; l < 16; ++l) out[l + 16] = d * static_cast<float>((q[l] >> 4) - 8);
  }
}

EDITD_FOR_EACH_CPU void DequantizeQ4_1(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 20, out += 32) {
    const float d = Half(in), m = Half(in + 2);
    const uint8_t* q = in + 4;
    for (int l = 0; l < 16; ++l) out[l] = d * static_cast<float>(q[l] & 15) + m;
    for (int l = 0; l < 16; ++l) out[l + 16] = d * static_cast<float>(q[l] >> 4) + m;
  }
}

// The fifth bits stand in 32 bits of their own, that of element l at bit l.
EDITD_FOR_EACH_CPU void DequantizeQ5_0(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 22, out += 32) {
    const float d = Half(in);
    uint32_t high;
    std::memcpy(&high, in + 2, 4);
    const uint8_t* q = in + 6;
    for (int l = 0; l < 16; ++l) {
      out[l] = d * static_cast<float>(static_cast<int>((q[l] & 15) | ((high >> l & 1) << 4)) - 16);
    }
    for (int l = 0; l < 16; ++l) {
      out[l + 16] = d * static_cast<float>(static_cast<int>((q[l] >> 4) | ((high >> (l + 16) & 1) << 4)) - 16);
    }
  }
}

EDITD_FOR_EACH_CPU void DequantizeQ5_1(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 24, out += 32) {
    const float d = Half(in), m = Half(in + 2);
    uint32_t high;
    std::memcpy(&high, in + 4, 4);
    const uint8_t* q = in + 8;
    for (int l = 0; l < 16; ++l) {
      out[l] = d * static_cast<float>(static_cast<int>((q[l] & 15) | ((high >> l & 1) << 4))) + m;
    }
    for (int l = 0; l < 16; ++l) {
      out[l + 16] = d * static_cast<float>(static_cast<int>((q[l] >> 4) | ((high >> (l + 16) & 1) << 4))) + m;
    }
  }
}

EDITD_FOR_EACH_CPU void DequantizeQ8_0(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 34, out += 32) {
    const float d = Half(in);
    const int8_t* q = reinterpret_cast<const int8_t*>(in + 2);
    for (int l = 0; l < 32; ++l) out[l] = static_cast<float>(q[l]) * d;
  }
}

// scales[16]: 4 bits scale, 4 bits minimum for each 16 elements | qs[64]: 2 bits | d | dmin
EDITD_FOR_EACH_CPU void DequantizeQ2_K(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 84, out += 256) {
    const float d = Half(in + 80), dmin = Half(in + 82);
    for (int g = 0; g < 16; ++g) {
      const float dl = d * static_cast<float>(in[g] & 15);
      const float ml = dmin * static_cast<float>(in[g] >> 4);
      const uint8_t* q = in + 16 + (g / 8) * 32 + (g % 2) * 16;
      const int shift = g % 8 / 2 * 2;
      for (int l = 0; l < 16; ++l) out[g * 16 + l] = dl * static_cast<float>(q[l] >> shift & 3) - ml;
    }
  }
}

// hmask[32]: third bits, inverted | qs[64]: 2 bits | scales[12]: 6 bits for each 16 elements | d
EDITD_FOR_EACH_CPU void DequantizeQ3_K(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 110, out += 256) {
    const float d = Half(in + 108);
    const uint8_t* scales = in + 96;
    for (int g = 0; g < 16; ++g) {
      const int low = g < 8 ? scales[g] & 15 : scales[g - 8] >> 4;
      const int high = scales[8 + g % 4] >> (g / 4 * 2) & 3;
      const float dl = d * static_cast<float>((low | high << 4) - 32);
      const uint8_t* q = in + 32 + (g / 8) * 32 + (g % 2) * 16;
      const uint8_t* h = in + (g % 2) * 16;
      const int shift = g % 8 / 2 * 2, bit = g / 2;
      for (int l = 0; l < 16; ++l) {
        out[g * 16 + l] = dl * static_cast<float>((q[l] >> shift & 3) - ((~h[l] >> bit & 1) << 2));
      }
    }
  }
}

// Eight 6-bit scales and eight 6-bit minima in 12 bytes, as Q4_K and Q5_K have them.
inline void ScaleAndMinimum(const uint8_t* packed, int g, int* scale, int* minimum) {
  if (g < 4) {
    *scale = packed[g] & 63;
    *minimum = packed[g + 4] & 63;
  } else {
    *scale = (packed[g + 4] & 15) | (packed[g - 4] >> 6) << 4;
    *minimum = (packed[g + 4] >> 4) | (packed[g] >> 6) << 4;
  }
}

// d | dmin | scales[12] | qs[128]: 4 bits; 32 bytes hold the low nibbles of one group and the high ones of the next
EDITD_FOR_EACH_CPU void DequantizeQ4_K(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 144, out += 256) {
    const float d = Half(in), dmin = Half(in + 2);
    for (int g = 0; g < 8; ++g) {
      int scale, minimum;
      ScaleAndMinimum(in + 4, g, &scale, &minimum);
      const float dl = d * static_cast<float>(scale), ml = dmin * static_cast<float>(minimum);
      const uint8_t* q = in + 16 + g / 2 * 32;
      const int shift = g % 2 * 4;
      for (int l = 0; l < 32; ++l) out[g * 32 + l] = dl * static_cast<float>(q[l] >> shift & 15) - ml;
    }
  }
}

// As Q4_K, with qh[32] before qs: the fifth bit of group g at bit g.
EDITD_FOR_EACH_CPU void DequantizeQ5_K(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 176, out += 256) {
    const float d = Half(in), dmin = Half(in + 2);
    const uint8_t* h = in + 16;
    for (int g = 0; g < 8; ++g) {
      int scale, minimum;
      ScaleAndMinimum(in + 4, g, &scale, &minimum);
      const float dl = d * static_cast<float>(scale), ml = dmin * static_cast<float>(minimum);
      const uint8_t* q = in + 48 + g / 2 * 32;
      const int shift = g % 2 * 4;
      for (int l = 0; l < 32; ++l) {
        out[g * 32 + l] = dl * static_cast<float>((q[l] >> shift & 15) | (h[l] >> g & 1) << 4) - ml;
      }
    }
  }
}

// ql[128]: 4 bits | qh[64]: 2 bits | scales[16]: 8 bits, signed, for each 16 elements | d
EDITD_FOR_EACH_CPU void DequantizeQ6_K(const uint8_t* __restrict in, uint64_t blocks, float* __restrict out) {
  for (uint64_t b = 0; b < blocks; ++b, in += 210, out += 256) {
    const float d = Half(in + 208);
    const int8_t* scales = reinterpret_cast<const int8_t*>(in + 192);
    for (int g = 0; g < 16; ++g) {
      const float dl = d * static_cast<float>(scales[g]);
      const int e = g * 16, half = e / 128, within = e % 128;
      const uint8_t* ql = in + half * 64 + within % 64;
      const uint8_t* qh = in + 128 + half * 32 + within % 32;
      const int low_shift = within / 64 * 4, high_shift = within / 32 * 2;
      for (int l = 0; l < 16; ++l) {
        out[e + l] = dl * static_cast<float>(((ql[l] >> low_shift & 15) | (qh[l] >> high_shift & 3) << 4) - 32);
      }
    }
  }
}

}  // namespace

void Dequantize(GgmlType type, const void* blocks, uint64_t count, float* out) {
  const uint8_t* in = static_cast<const uint8_t*>(blocks);
  switch (type) {
    case GgmlType::kF32:
      std::memcpy(out, in, count * 4);
      return;
    case GgmlType::kF16:
      return DequantizeF16(in, count, out);
    case GgmlType::kBF16:
      return DequantizeBF16(in, count, out);
    case GgmlType::kQ4_0:
      return DequantizeQ4_0(in, count / 32, out);
    case GgmlType::kQ4_1:
      return DequantizeQ4_1(in, count / 32, out);
    case GgmlType::kQ5_0:
      return DequantizeQ5_0(in, count / 32, out);
    case GgmlType::kQ5_1:
      return DequantizeQ5_1(in, count / 32, out);
    case GgmlType::kQ8_0:
      return DequantizeQ8_0(in, count / 32, out);
    case GgmlType::kQ2_K:
      return DequantizeQ2_K(in, count / 256, out);
    case GgmlType::kQ3_K:
      return DequantizeQ3_K(in, count / 256, out);
    case GgmlType::kQ4_K:
      return DequantizeQ4_K(in, count / 256, out);
    case GgmlType::kQ5_K:
      return DequantizeQ5_K(in, count / 256, out);
    case GgmlType::kQ6_K:
      return DequantizeQ6_K(in, count / 256, out);
  }
}

}  // namespace editd::formats
