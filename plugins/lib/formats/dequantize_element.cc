// One element from the definition of its type, the slow way: find its bits, find its scale, multiply.
//
// Written apart from dequantize.cc on purpose, so that an import that compares the two catches a mistake in either.
// Compiled with -ffp-contract=off too.
#include <cstring>

#include "plugins/lib/formats/dequantize.h"
#include "storage/base/dtype.h"

namespace editd::formats {
namespace {

uint16_t Word(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

// `width` bits of the little-endian bit string at `p`, from bit `at` on; they lie in one byte.
int Bits(const uint8_t* p, int at, int width) { return p[at / 8] >> (at % 8) & ((1 << width) - 1); }

// Types with 32 elements a block: the nibbles of elements 0..15 are the low halves of 16 bytes, 16..31 the high ones.
int Nibble32(const uint8_t* nibbles, int e) { return Bits(nibbles, e % 16 * 8 + e / 16 * 4, 4); }

// The 6-bit scale (which = 0) or minimum (which = 1) of group g.
int SixBits(const uint8_t* packed, int g, int which) {
  if (g < 4) return packed[which * 4 + g] % 64;
  const int low = which == 0 ? packed[4 + g] % 16 : packed[4 + g] / 16;
  return low + packed[which * 4 + g - 4] / 64 * 16;
}

float KQuant(const uint8_t* p, const uint8_t* nibbles, const uint8_t* fifth, int e) {
  const int g = e / 32, l = e % 32;
  int q = Bits(nibbles, (e / 64 * 32 + l) * 8 + g % 2 * 4, 4);
  if (fifth != nullptr) q += 16 * Bits(fifth, l * 8 + g, 1);
  const float scale = HalfToFloat(Word(p)) * static_cast<float>(SixBits(p + 4, g, 0));
  const float minimum = HalfToFloat(Word(p + 2)) * static_cast<float>(SixBits(p + 4, g, 1));
  const float product = scale * static_cast<float>(q);
  return product - minimum;
}

}  // namespace

float DequantizeElement(GgmlType type, const void* blocks, uint64_t index) {
  const GgmlTypeTraits& traits = TraitsOf(type);
  const uint8_t* p = static_cast<const uint8_t*>(blocks) + index / traits.block * traits.bytes;
  const int e = static_cast<int>(index % traits.block);
  switch (type) {
    case GgmlType::kF32: {
      float value;
      std::memcpy(&value, p, 4);
      return value;
    }
    case GgmlType::kF16:
      return HalfToFloat(Word(p));
    case GgmlType::kBF16:
      return BFloat16ToFloat(Word(p));
    case GgmlType::kQ4_0:
      return HalfToFloat(Word(p)) * static_cast<float>(Nibble32(p + 2, e) - 8);
    case GgmlType::kQ4_1: {
      const float product = HalfToFloat(Word(p)) * static_cast<float>(Nibble32(p + 4, e));
      return product + HalfToFloat(Word(p + 2));
    }
    case GgmlType::kQ5_0:
      return HalfToFloat(Word(p)) * static_cast<float>(Nibble32(p + 6, e) + 16 * Bits(p + 2, e, 1) - 16);
    case GgmlType::kQ5_1: {
      const float product = HalfToFloat(Word(p)) * static_cast<float>(Nibble32(p + 8, e) + 16 * Bits(p + 4, e, 1));
      return product + HalfToFloat(Word(p + 2));
    }
    case GgmlType::kQ8_0:
      return HalfToFloat(Word(p)) * static_cast<float>(static_cast<int8_t>(p[2 + e]));
    case GgmlType::kQ2_K: {
      const int q = Bits(p + 16, (e / 128 * 32 + e % 32) * 8 + e % 128 / 32 * 2, 2);
      const float scale = HalfToFloat(Word(p + 80)) * static_cast<float>(p[e / 16] % 16);
      const float minimum = HalfToFloat(Word(p + 82)) * static_cast<float>(p[e / 16] / 16);
      const float product = scale * static_cast<float>(q);
      return product - minimum;
    }
    case GgmlType::kQ3_K: {
      const int two = Bits(p + 32, (e / 128 * 32 + e % 32) * 8 + e % 128 / 32 * 2, 2);
      const int q = two - (Bits(p, e % 32 * 8 + e / 32, 1) != 0 ? 0 : 4);
      const int g = e / 16;
      const int six = Bits(p + 96, g % 8 * 8 + g / 8 * 4, 4) + 16 * Bits(p + 104, g % 4 * 8 + g / 4 * 2, 2);
      const float scale = HalfToFloat(Word(p + 108)) * static_cast<float>(six - 32);
      return scale * static_cast<float>(q);
    }
    case GgmlType::kQ4_K:
      return KQuant(p, p + 16, nullptr, e);
    case GgmlType::kQ5_K:
      return KQuant(p, p + 48, p + 16, e);
    case GgmlType::kQ6_K: {
      const int low = Bits(p, (e / 128 * 64 + e % 64) * 8 + e % 128 / 64 * 4, 4);
      const int high = Bits(p + 128, (e / 128 * 32 + e % 32) * 8 + e % 128 / 32 * 2, 2);
      const float scale = HalfToFloat(Word(p + 208)) * static_cast<float>(static_cast<int8_t>(p[192 + e / 16]));
      return scale * static_cast<float>(low + 16 * high - 32);
    }
  }
  return 0;
}

}  // namespace editd::formats
