// What each function of blocks.h means, one element after the other. Tests hold the vectorised ones to these, bit for
// bit; a processor without vectors that we know runs them.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "plugins/lib/kernels/blocks.h"
#include "plugins/lib/kernels/random.h"
#include "storage/base/dtype.h"

namespace editd::kernels {
namespace {

uint32_t Magnitude(float x) { return std::bit_cast<uint32_t>(x) & kMagnitudeBits; }

template <typename T>
T At(const void* data, size_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(data) + i * sizeof(T), sizeof(T));
  return value;
}
template <typename T>
void Put(void* data, size_t i, T value) {
  std::memcpy(static_cast<char*>(data) + i * sizeof(T), &value, sizeof(T));
}

void LoadBf16(const void* in, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = BFloat16ToFloat(At<uint16_t>(in, i));
}
void LoadF16(const void* in, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = HalfToFloat(At<uint16_t>(in, i));
}
bool StoreBf16(const float* in, size_t n, void* out) {
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    const uint16_t bits = FloatToBFloat16(in[i]);
    finite &= (bits & 0x7f80) != 0x7f80;
    Put(out, i, bits);
  }
  return finite;
}
bool StoreF16(const float* in, size_t n, void* out) {
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    const uint16_t bits = FloatToHalf(in[i]);
    finite &= (bits & 0x7c00) != 0x7c00;
    Put(out, i, bits);
  }
  return finite;
}
bool StoreF32(const float* in, size_t n, void* out) {
  bool finite = true;
  for (size_t i = 0; i < n; ++i) {
    finite &= std::isfinite(in[i]);
    Put(out, i, in[i]);
  }
  return finite;
}

void Scale(const float* x, float by, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * by;
}
void AddScaled(const float* x, float by, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) {
    const float product = x[i] * by;
    out[i] = out[i] + product;
  }
}
void Add(const float* x, const float* y, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = x[i] + y[i];
}
void Subtract(const float* x, const float* y, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = x[i] - y[i];
}
void Multiply(const float* x, const float* y, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) out[i] = x[i] * y[i];
}
void Divide(float* x, float by, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = x[i] / by;
}
void DivideEach(float* num, const float* den, size_t n) {
  for (size_t i = 0; i < n; ++i) num[i] = den[i] == 0 ? num[i] : num[i] / den[i];
}
void KeepBetween(float* x, uint32_t least, uint32_t end, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = Magnitude(x[i]) >= least && Magnitude(x[i]) < end ? x[i] : 0.0f;
}
void KeepRandom(float* x, const uint32_t* bits, uint32_t limit, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = bits[i] < limit ? x[i] : 0.0f;
}
bool Bit(const uint64_t* mask, size_t i) { return (mask[i / 64] >> (i % 64) & 1) != 0; }
void KeepMasked(float* x, const uint64_t* mask, size_t n) {
  for (size_t i = 0; i < n; ++i) x[i] = Bit(mask, i) ? x[i] : 0.0f;
}
void Elect(const float* const* x, const Election& election, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) {
    float sum = 0, num = 0, den = 0;
    for (size_t m = 0; m < election.models; ++m) {
      const float v = x[m][i], weighted = v * election.weights[m];
      if (election.by == Election::By::kSigns) {
        sum += static_cast<float>((v > 0) - (v < 0));
      } else {
        sum += election.by == Election::By::kWeighted ? weighted : v;
      }
    }
    for (size_t m = 0; m < election.models; ++m) {
      const float v = x[m][i], weighted = v * election.weights[m];
      const float sign = election.by == Election::By::kWeighted ? weighted : v;
      const bool counts = sum >= 0 ? sign > 0 : sign < 0;
      num += counts ? weighted : 0.0f;
      if (election.shares != nullptr) den += counts ? election.shares[m] : 0.0f;
    }
    out[i] = den == 0 ? num : num / den;
  }
}
void Near(const float* base, const float* x, float t, size_t n, float* out) {
  for (size_t i = 0; i < n; ++i) {
    const float w = std::min(std::max(t / std::max(std::fabs(base[i] - x[i]), 1e-6f), 0.0f), 1.0f);
    const float a = w * x[i], b = (1.0f - w) * base[i];
    out[i] = a + b;
  }
}

// Sixteen lanes, then halves onto halves.
double SumLanes(double* lanes) {
  for (size_t width = 8; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  }
  return lanes[0];
}
double Dot(const float* x, const float* y, size_t n) {
  double lanes[16] = {};
  for (size_t i = 0; i < n; ++i) lanes[i % 16] += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  return SumLanes(lanes);
}
double SumAbs(const float* x, size_t n) {
  double lanes[16] = {};
  for (size_t i = 0; i < n; ++i) lanes[i % 16] += static_cast<double>(std::fabs(x[i]));
  return SumLanes(lanes);
}
void SumsAbsMasked(const float* x, const uint64_t* mask, size_t n, double* all, double* kept) {
  double lanes[16] = {}, kept_lanes[16] = {};
  for (size_t i = 0; i < n; ++i) {
    lanes[i % 16] += static_cast<double>(std::fabs(x[i]));
    kept_lanes[i % 16] += Bit(mask, i) ? static_cast<double>(std::fabs(x[i])) : 0.0;
  }
  *all = SumLanes(lanes);
  *kept = SumLanes(kept_lanes);
}

void CountHigh(const float* x, size_t n, uint32_t* counts) {
  for (size_t i = 0; i < n; ++i) ++counts[Magnitude(x[i]) >> 16];
}
void CountLow(const float* x, uint32_t high, size_t n, uint32_t* counts) {
  for (size_t i = 0; i < n; ++i) {
    if (Magnitude(x[i]) >> 16 == high) ++counts[Magnitude(x[i]) & 0xffff];
  }
}
size_t CountEqual(const float* x, uint32_t key, size_t n) {
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) count += Magnitude(x[i]) == key;
  return count;
}
size_t CollectBetween(const float* x, uint32_t least, uint32_t end, size_t n, uint32_t* out, uint64_t* above) {
  size_t found = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t magnitude = Magnitude(x[i]);
    out[found] = magnitude;
    found += magnitude >= least && magnitude < end;
    *above += magnitude >= end;
  }
  return found;
}
void Random(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t* out) {
  for (size_t i = 0; i < (n + 63) / 64 * 64; ++i) out[i] = RandomBits(seed, name, stream, first + i);
}
void RandomMask(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t limit,
                uint64_t* mask) {
  for (size_t i = 0; i < (n + 63) / 64 * 64; ++i) {
    if (i % 64 == 0) mask[i / 64] = 0;
    mask[i / 64] |= uint64_t{RandomBits(seed, name, stream, first + i) < limit} << (i % 64);
  }
}

}  // namespace

const Blocks kPlainBlocks = {
    "plain",  LoadBf16, LoadF16,       StoreBf16,  StoreF16,    StoreF32,   Scale,          AddScaled, Add,
    Subtract, Multiply, Divide,        DivideEach, KeepBetween, KeepRandom, KeepMasked,     Elect,     Near,
    Dot,      SumAbs,   SumsAbsMasked, CountHigh,  CountLow,    CountEqual, CollectBetween, Random,    RandomMask,
};

}  // namespace editd::kernels
