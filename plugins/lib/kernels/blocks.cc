// The functions of blocks.h, written once and compiled for each instruction set. Whole vectors here; the elements that
// are left over at a block's end go through the plain version, which has the same bits.
//
// Floats are rounded to the stored types with integer arithmetic, as dtype.h does: instructions that convert differ
// from one instruction set to the next in what they do with NaN and subnormals. Counting by magnitude stays scalar
// (vectors would collide), but whole vectors without a hit are passed over.
#include <algorithm>
#include <bit>
#include <vector>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "plugins/lib/kernels/blocks.cc"
#include "hwy/foreach_target.h"  // Includes this file once more for each target.
// After it:
#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "plugins/lib/kernels/blocks.h"
#include "plugins/lib/kernels/random.h"

HWY_BEFORE_NAMESPACE();
namespace editd::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using U = hn::RebindToUnsigned<F>;
using I = hn::RebindToSigned<F>;
using Half = hn::Rebind<uint16_t, F>;
constexpr F f;
constexpr U u;
constexpr I s;
constexpr Half half;
using VF = hn::Vec<F>;
using VU = hn::Vec<U>;

inline size_t Whole(size_t n) { return n / hn::Lanes(f) * hn::Lanes(f); }
inline VU Magnitude(VF x) { return hn::And(hn::BitCast(u, x), hn::Set(u, kMagnitudeBits)); }

// Calls body(i) for each whole vector and returns where the rest begins.
template <typename Body>
inline size_t Vectors(size_t n, const Body& body) {
  const size_t whole = Whole(n);
  for (size_t i = 0; i < whole; i += hn::Lanes(f)) body(i);
  return whole;
}

// --- stored types
// ------------------------------------------------------------------------------------------------------

// Elements of two bytes. Several tensors are read in turns, a block of each: the processor's own prefetching begins
// anew with each block, and stops at each page's end.
constexpr size_t kPrefetch = 2048;

void LoadBf16(const void* in, size_t n, float* out) {
  const uint16_t* x = static_cast<const uint16_t*>(in);
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    hwy::Prefetch(x + at + kPrefetch);
    const VU bits = hn::ShiftLeft<16>(hn::PromoteTo(u, hn::LoadU(half, x + at)));
    hn::StoreU(hn::BitCast(f, bits), f, out + at);
  });
  kPlainBlocks.load_bf16(x + i, n - i, out + i);
}

void LoadF16(const void* in, size_t n, float* out) {
  const uint16_t* x = static_cast<const uint16_t*>(in);
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    hwy::Prefetch(x + at + kPrefetch);
    const VU bits = hn::PromoteTo(u, hn::LoadU(half, x + at));
    const VU sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(u, 0x8000)));
    const VU magnitude = hn::And(bits, hn::Set(u, 0x7fff));
    const VU normal = hn::Add(hn::ShiftLeft<13>(magnitude), hn::Set(u, 0x38000000));
    const VU subnormal = hn::BitCast(u, hn::Mul(hn::ConvertTo(f, hn::BitCast(s, magnitude)), hn::Set(f, 0x1p-24f)));
    const VU infinite = hn::Or(hn::Set(u, 0x7f800000), hn::ShiftLeft<13>(hn::And(magnitude, hn::Set(u, 0x3ff))));
    VU out_bits = hn::IfThenElse(hn::Lt(magnitude, hn::Set(u, 0x0400)), subnormal, normal);
    out_bits = hn::IfThenElse(hn::Gt(magnitude, hn::Set(u, 0x7bff)), infinite, out_bits);
    hn::StoreU(hn::BitCast(f, hn::Or(out_bits, sign)), f, out + at);
  });
  kPlainBlocks.load_f16(x + i, n - i, out + i);
}

bool StoreBf16(const float* in, size_t n, void* out) {
  uint16_t* y = static_cast<uint16_t*>(out);
  auto bad = hn::Gt(hn::Zero(u), hn::Zero(u));
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VU bits = hn::BitCast(u, hn::LoadU(f, in + at));
    const VU odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 1));
    const VU rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(u, 0x7fff)), odd));
    const VU nan = hn::Or(hn::ShiftRight<16>(bits), hn::Set(u, 0x40));
    const auto is_nan = hn::Gt(hn::And(bits, hn::Set(u, kMagnitudeBits)), hn::Set(u, 0x7f800000));
    const VU result = hn::IfThenElse(is_nan, nan, rounded);
    bad = hn::Or(bad, hn::Eq(hn::And(result, hn::Set(u, 0x7f80)), hn::Set(u, 0x7f80)));
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(s, result)), half, y + at);
  });
  return kPlainBlocks.store_bf16(in + i, n - i, y + i) && hn::AllFalse(u, bad);
}

bool StoreF16(const float* in, size_t n, void* out) {
  uint16_t* y = static_cast<uint16_t*>(out);
  auto bad = hn::Gt(hn::Zero(u), hn::Zero(u));
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VU bits = hn::BitCast(u, hn::LoadU(f, in + at));
    const VU sign = hn::And(hn::ShiftRight<16>(bits), hn::Set(u, 0x8000));
    const VU magnitude = hn::And(bits, hn::Set(u, kMagnitudeBits));
    const VU odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(u, 1));
    const VU normal = hn::ShiftRight<13>(hn::Add(hn::Sub(magnitude, hn::Set(u, 0x38000000 - 0xfff)), odd));
    const VF scaled = hn::Add(hn::BitCast(f, magnitude), hn::Set(f, 0.5f));  // Rounds to a step of 2^-24.
    const VU subnormal = hn::Sub(hn::BitCast(u, scaled), hn::Set(u, 0x3f000000));
    const VU nan = hn::Or(hn::Set(u, 0x7e00), hn::And(hn::ShiftRight<13>(magnitude), hn::Set(u, 0x3ff)));
    VU result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(u, 0x38800000)), subnormal, normal);
    result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(u, 0x477fefff)), hn::Set(u, 0x7c00), result);
    result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(u, 0x7f800000)), nan, result);
    bad = hn::Or(bad, hn::Eq(hn::And(result, hn::Set(u, 0x7c00)), hn::Set(u, 0x7c00)));
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(s, hn::Or(result, sign))), half, y + at);
  });
  return kPlainBlocks.store_f16(in + i, n - i, y + i) && hn::AllFalse(u, bad);
}

bool StoreF32(const float* in, size_t n, void* out) {
  float* y = static_cast<float*>(out);
  auto bad = hn::Gt(hn::Zero(u), hn::Zero(u));
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VF x = hn::LoadU(f, in + at);
    bad = hn::Or(bad, hn::Gt(Magnitude(x), hn::Set(u, 0x7f7fffff)));
    hn::StoreU(x, f, y + at);
  });
  return kPlainBlocks.store_f32(in + i, n - i, y + i) && hn::AllFalse(u, bad);
}

// --- element by element
// ------------------------------------------------------------------------------------------------

void Scale(const float* x, float by, size_t n, float* out) {
  const size_t i =
      Vectors(n, [&](size_t at) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(f, x + at), hn::Set(f, by)), f, out + at); });
  kPlainBlocks.scale(x + i, by, n - i, out + i);
}

void AddScaled(const float* x, float by, size_t n, float* out) {
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VF product = hn::Mul(hn::LoadU(f, x + at), hn::Set(f, by));
    hn::StoreU(hn::Add(hn::LoadU(f, out + at), product), f, out + at);
  });
  kPlainBlocks.add_scaled(x + i, by, n - i, out + i);
}

void Add(const float* x, const float* y, size_t n, float* out) {
  const size_t i = Vectors(
      n, [&](size_t at) HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(f, x + at), hn::LoadU(f, y + at)), f, out + at); });
  kPlainBlocks.add(x + i, y + i, n - i, out + i);
}

void Subtract(const float* x, const float* y, size_t n, float* out) {
  const size_t i = Vectors(
      n, [&](size_t at) HWY_ATTR { hn::StoreU(hn::Sub(hn::LoadU(f, x + at), hn::LoadU(f, y + at)), f, out + at); });
  kPlainBlocks.subtract(x + i, y + i, n - i, out + i);
}

void Multiply(const float* x, const float* y, size_t n, float* out) {
  const size_t i = Vectors(
      n, [&](size_t at) HWY_ATTR { hn::StoreU(hn::Mul(hn::LoadU(f, x + at), hn::LoadU(f, y + at)), f, out + at); });
  kPlainBlocks.multiply(x + i, y + i, n - i, out + i);
}

void Divide(float* x, float by, size_t n) {
  const size_t i =
      Vectors(n, [&](size_t at) HWY_ATTR { hn::StoreU(hn::Div(hn::LoadU(f, x + at), hn::Set(f, by)), f, x + at); });
  kPlainBlocks.divide(x + i, by, n - i);
}

void DivideEach(float* num, const float* den, size_t n) {
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VF x = hn::LoadU(f, num + at), by = hn::LoadU(f, den + at);
    const VF safe = hn::IfThenElse(hn::Eq(by, hn::Zero(f)), hn::Set(f, 1.0f), by);
    hn::StoreU(hn::Div(x, safe), f, num + at);
  });
  kPlainBlocks.divide_each(num + i, den + i, n - i);
}

void KeepBetween(float* x, uint32_t least, uint32_t end, size_t n) {
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VF value = hn::LoadU(f, x + at);
    const VU magnitude = Magnitude(value);
    const auto kept = hn::AndNot(hn::Lt(magnitude, hn::Set(u, least)), hn::Lt(magnitude, hn::Set(u, end)));
    hn::StoreU(hn::IfThenElseZero(hn::RebindMask(f, kept), value), f, x + at);
  });
  kPlainBlocks.keep_between(x + i, least, end, n - i);
}

void KeepRandom(float* x, const uint32_t* bits, uint32_t limit, size_t n) {
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const auto kept = hn::Lt(hn::LoadU(u, bits + at), hn::Set(u, limit));
    hn::StoreU(hn::IfThenElseZero(hn::RebindMask(f, kept), hn::LoadU(f, x + at)), f, x + at);
  });
  kPlainBlocks.keep_random(x + i, bits + i, limit, n - i);
}

// The bits of a mask for the vector at `at`: whole bytes, or (vectors of four and fewer) a part of one.
template <typename Tag>
HWY_INLINE hn::Mask<Tag> MaskAt(Tag tag, const uint64_t* mask, size_t at) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(mask) + at / 8;
  if constexpr (hn::MaxLanes(Tag()) >= 8) return hn::LoadMaskBits(tag, bytes);
  const uint64_t bits = *bytes >> (at % 8);
  return hn::LoadMaskBits(tag, reinterpret_cast<const uint8_t*>(&bits));
}

void KeepMasked(float* x, const uint64_t* mask, size_t n) {
  // The rest begins with a word of the mask.
  const size_t i = Vectors(n / 64 * 64, [&](size_t at) HWY_ATTR {
    hn::StoreU(hn::IfThenElseZero(MaskAt(f, mask, at), hn::LoadU(f, x + at)), f, x + at);
  });
  kPlainBlocks.keep_masked(x + i, mask + i / 64, n - i);
}

// With kModels zero for any number of them.
template <Election::By kBy, bool kDivide, size_t kModels>
HWY_INLINE void ElectVector(const float* const* x, const Election& e, size_t at, float* out) {
  const size_t models = kModels == 0 ? e.models : kModels;
  const VF zero = hn::Zero(f);
  VF sum = zero;
  for (size_t m = 0; m < models; ++m) {
    const VF value = hn::LoadU(f, x[m] + at);
    if constexpr (kBy == Election::By::kSigns) {
      const VF one = hn::Set(f, 1.0f);
      const VF plus = hn::IfThenElseZero(hn::Gt(value, zero), one);
      sum = hn::Add(sum, hn::Sub(plus, hn::IfThenElseZero(hn::Lt(value, zero), one)));
    } else {
      sum = hn::Add(sum, kBy == Election::By::kWeighted ? hn::Mul(value, hn::Set(f, e.weights[m])) : value);
    }
  }
  // With the other sign where minus is elected, what counts is above zero.
  const VF turn = hn::IfThenZeroElse(hn::Ge(sum, zero), hn::BitCast(f, hn::Set(u, 0x80000000u)));
  VF num = zero, den = zero;
  for (size_t m = 0; m < models; ++m) {
    const VF value = hn::LoadU(f, x[m] + at), weighted = hn::Mul(value, hn::Set(f, e.weights[m]));
    const VF sign = kBy == Election::By::kWeighted ? weighted : value;
    const auto counts = hn::Gt(hn::Xor(sign, turn), zero);
    num = hn::Add(num, hn::IfThenElseZero(counts, weighted));
    if constexpr (kDivide) den = hn::Add(den, hn::IfThenElseZero(counts, hn::Set(f, e.shares[m])));
  }
  if constexpr (kDivide) num = hn::Div(num, hn::IfThenElse(hn::Eq(den, zero), hn::Set(f, 1.0f), den));
  hn::StoreU(num, f, out + at);
}

template <Election::By kBy, bool kDivide>
size_t ElectAll(const float* const* x, const Election& e, size_t n, float* out) {
  if (e.models != 2) return Vectors(n, [&](size_t at) HWY_ATTR { ElectVector<kBy, kDivide, 0>(x, e, at, out); });
  // Two models are what most merges have; values by name stay in registers.
  const float* const pointers[] = {x[0], x[1]};
  const float weights[] = {e.weights[0], e.weights[1]};
  const float shares[] = {kDivide ? e.shares[0] : 0, kDivide ? e.shares[1] : 0};
  const Election two = {e.by, 2, weights, shares};
  return Vectors(n, [&](size_t at) HWY_ATTR { ElectVector<kBy, kDivide, 2>(pointers, two, at, out); });
}

template <Election::By kBy>
size_t ElectBy(const float* const* x, const Election& e, size_t n, float* out) {
  return e.shares != nullptr ? ElectAll<kBy, true>(x, e, n, out) : ElectAll<kBy, false>(x, e, n, out);
}

void Elect(const float* const* x, const Election& e, size_t n, float* out) {
  size_t i = 0;
  switch (e.by) {
    case Election::By::kWeighted:
      i = ElectBy<Election::By::kWeighted>(x, e, n, out);
      break;
    case Election::By::kPlain:
      i = ElectBy<Election::By::kPlain>(x, e, n, out);
      break;
    case Election::By::kSigns:
      i = ElectBy<Election::By::kSigns>(x, e, n, out);
      break;
  }
  if (i == n) return;
  std::vector<const float*> rest(x, x + e.models);
  for (const float*& model : rest) model += i;
  kPlainBlocks.elect(rest.data(), e, n - i, out + i);
}

void Near(const float* base, const float* x, float t, size_t n, float* out) {
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VF a = hn::LoadU(f, base + at), y = hn::LoadU(f, x + at), one = hn::Set(f, 1.0f);
    const VF distance = hn::Max(hn::Abs(hn::Sub(a, y)), hn::Set(f, 1e-6f));
    const VF w = hn::Min(hn::Max(hn::Div(hn::Set(f, t), distance), hn::Zero(f)), one);
    hn::StoreU(hn::Add(hn::Mul(w, y), hn::Mul(hn::Sub(one, w), a)), f, out + at);
  });
  kPlainBlocks.near(base + i, x + i, t, n - i, out + i);
}

// --- sums
// --------------------------------------------------------------------------------------------------------------

using D = hn::ScalableTag<double>;
constexpr D d;
using HalfF = hn::Rebind<float, D>;
constexpr HalfF halff;
constexpr size_t kVectors = 16 / HWY_LANES(double) == 0 ? 1 : 16 / HWY_LANES(double);  // That hold sixteen lanes.

// Halves onto halves.
inline double Fold(double* lanes) {
  for (size_t width = 8; width > 0; width /= 2) {
    for (size_t k = 0; k < width; ++k) lanes[k] += lanes[k + width];
  }
  return lanes[0];
}

// term(vector of floats' place, accumulator) for each whole sixteen; rest(i, lane) for what is left over.
template <typename Term, typename Rest>
double SumLanes(size_t n, const Term& term, const Rest& rest) {
  hn::Vec<D> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(d);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (size_t k = 0; k < kVectors; ++k) term(i + k * hn::Lanes(d), &sums[k]);
  }
  double lanes[16];
  for (size_t k = 0; k < kVectors; ++k) hn::StoreU(sums[k], d, lanes + k * hn::Lanes(d));
  for (; i < n; ++i) rest(i, &lanes[i % 16]);
  return Fold(lanes);
}

double Dot(const float* x, const float* y, size_t n) {
  return SumLanes(
      n,
      [&](size_t at, hn::Vec<D>* sum) HWY_ATTR {
        const auto a = hn::PromoteTo(d, hn::LoadU(halff, x + at)), b = hn::PromoteTo(d, hn::LoadU(halff, y + at));
        *sum = hn::MulAdd(a, b, *sum);
      },
      [&](size_t i, double* lane) { *lane += static_cast<double>(x[i]) * static_cast<double>(y[i]); });
}

double SumAbs(const float* x, size_t n) {
  return SumLanes(
      n,
      [&](size_t at, hn::Vec<D>* sum)
          HWY_ATTR { *sum = hn::Add(*sum, hn::Abs(hn::PromoteTo(d, hn::LoadU(halff, x + at)))); },
      [&](size_t i, double* lane) { *lane += static_cast<double>(x[i] < 0 ? -x[i] : x[i]); });
}

void SumsAbsMasked(const float* x, const uint64_t* mask, size_t n, double* all, double* kept) {
  hn::Vec<D> sums[kVectors], kept_sums[kVectors];
  for (size_t k = 0; k < kVectors; ++k) sums[k] = kept_sums[k] = hn::Zero(d);
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (size_t k = 0; k < kVectors; ++k) {
      const size_t at = i + k * hn::Lanes(d);
      const hn::Vec<D> size = hn::Abs(hn::PromoteTo(d, hn::LoadU(halff, x + at)));
      sums[k] = hn::Add(sums[k], size);
      kept_sums[k] = hn::Add(kept_sums[k], hn::IfThenElseZero(MaskAt(d, mask, at), size));
    }
  }
  double lanes[16], kept_lanes[16];
  for (size_t k = 0; k < kVectors; ++k) {
    hn::StoreU(sums[k], d, lanes + k * hn::Lanes(d));
    hn::StoreU(kept_sums[k], d, kept_lanes + k * hn::Lanes(d));
  }
  for (; i < n; ++i) {
    const double size = static_cast<double>(x[i] < 0 ? -x[i] : x[i]);
    lanes[i % 16] += size;
    if ((mask[i / 64] >> (i % 64) & 1) != 0) kept_lanes[i % 16] += size;
  }
  *all = Fold(lanes);
  *kept = Fold(kept_lanes);
}

// --- selection
// ---------------------------------------------------------------------------------------------------------

void CountHigh(const float* x, size_t n, uint32_t* counts) { kPlainBlocks.count_high(x, n, counts); }

void CountLow(const float* x, uint32_t high, size_t n, uint32_t* counts) {
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VU bits = Magnitude(hn::LoadU(f, x + at));
    const auto hits = hn::Eq(hn::ShiftRight<16>(bits), hn::Set(u, high));
    if (hn::AllFalse(u, hits)) return;
    uint64_t mask = 0;
    hn::StoreMaskBits(u, hits, reinterpret_cast<uint8_t*>(&mask));
    for (; mask != 0; mask &= mask - 1) {
      ++counts[std::bit_cast<uint32_t>(x[at + static_cast<size_t>(std::countr_zero(mask))]) & 0xffff];
    }
  });
  kPlainBlocks.count_low(x + i, high, n - i, counts);
}

size_t CountEqual(const float* x, uint32_t key, size_t n) {
  size_t count = 0;
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    count += hn::CountTrue(u, hn::Eq(Magnitude(hn::LoadU(f, x + at)), hn::Set(u, key)));
  });
  return count + kPlainBlocks.count_equal(x + i, key, n - i);
}

size_t CollectBetween(const float* x, uint32_t least, uint32_t end, size_t n, uint32_t* out, uint64_t* above) {
  size_t found = 0;
  uint64_t larger = 0;
  const size_t i = Vectors(n, [&](size_t at) HWY_ATTR {
    const VU magnitude = Magnitude(hn::LoadU(f, x + at));
    const auto below_end = hn::Lt(magnitude, hn::Set(u, end));
    const auto between = hn::AndNot(hn::Lt(magnitude, hn::Set(u, least)), below_end);
    larger += hn::Lanes(u) - hn::CountTrue(u, below_end);
    hn::StoreU(hn::Compress(magnitude, between), u, out + found);  // Room for a whole vector is asked for.
    found += hn::CountTrue(u, between);
  });
  *above += larger;
  return found + kPlainBlocks.collect_between(x + i, least, end, n - i, out + found, above);
}

// --- random bits
// -------------------------------------------------------------------------------------------------------

#if HWY_TARGET != HWY_SCALAR
using U64 = hn::ScalableTag<uint64_t>;
constexpr U64 u64;
using V64 = hn::Vec<U64>;

// One counter a 64-bit lane; only the lower half of a lane counts.
struct Counters {
  V64 c0, c1, c2, c3;
};

HWY_INLINE void Round(Counters* c, V64 k0, V64 k1) {
  const auto m0 = hn::BitCast(u, hn::Set(u64, kPhiloxMultiplier[0]));
  const auto m1 = hn::BitCast(u, hn::Set(u64, kPhiloxMultiplier[1]));
  const V64 p0 = hn::MulEven(hn::BitCast(u, c->c0), m0), p1 = hn::MulEven(hn::BitCast(u, c->c2), m1);
  c->c0 = hn::Xor3(hn::ShiftRight<32>(p1), c->c1, k0);
  c->c2 = hn::Xor3(hn::ShiftRight<32>(p0), c->c3, k1);
  c->c1 = p1;
  c->c3 = p0;
}

// Calls put(place, vector of words at that place of `first` and on) for all, in any order. Several counters' rounds run
// side by side, because each has to wait for its last.
template <typename Put>
HWY_INLINE void RandomWords(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, const Put& put) {
  const size_t lanes = hn::Lanes(u64);
  const V64 name_low = hn::Set(u64, name), name_high = hn::Set(u64, name >> 32);
  const V64 number = hn::Iota(u64, static_cast<uint32_t>(0));
  const auto counters = [&](uint64_t counter) HWY_ATTR {
    return Counters{hn::Add(number, hn::Set(u64, counter)), hn::Set(u64, (counter >> 32) | uint64_t{stream} << 16),
                    name_low, name_high};
  };
  const auto words = [&](const Counters& x, const Counters& y, size_t place) HWY_ATTR {
    const auto join = [&](V64 a, V64 b, size_t word)
                          HWY_ATTR { put(place + word * 16, hn::ConcatEven(u, hn::BitCast(u, b), hn::BitCast(u, a))); };
    join(x.c0, y.c0, 0);
    join(x.c1, y.c1, 1);
    join(x.c2, y.c2, 2);
    join(x.c3, y.c3, 3);
  };
  for (size_t group = 0; group < (n + 63) / 64; group += 2) {
    const uint64_t counter = (first / 64 + group) * 16;
    for (size_t k = 0; k < 16; k += 2 * lanes) {
      Counters a = counters(counter + k), b = counters(counter + k + lanes);
      Counters c = counters(counter + 16 + k), e = counters(counter + 16 + k + lanes);
      uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
      for (int round = 0; round < 10; ++round) {
        const V64 key0 = hn::Set(u64, k0), key1 = hn::Set(u64, k1);
        Round(&a, key0, key1);
        Round(&b, key0, key1);
        Round(&c, key0, key1);
        Round(&e, key0, key1);
        k0 += kPhiloxWeyl[0];
        k1 += kPhiloxWeyl[1];
      }
      words(a, b, group * 64 + k);
      if (group * 64 + 64 < n) words(c, e, group * 64 + 64 + k);
    }
  }
}

void Random(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t* out) {
  RandomWords(seed, name, stream, first, n, [&](size_t at, VU words) HWY_ATTR { hn::StoreU(words, u, out + at); });
}

void RandomMask(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t limit,
                uint64_t* mask) {
  if constexpr (hn::MaxLanes(u) < 8) std::fill_n(mask, (n + 63) / 64, uint64_t{0});
  RandomWords(seed, name, stream, first, n, [&](size_t at, VU words) HWY_ATTR {
    const auto kept = hn::Lt(words, hn::Set(u, limit));
    uint8_t* const bytes = reinterpret_cast<uint8_t*>(mask) + at / 8;
    if constexpr (hn::MaxLanes(u) >= 8) {
      hn::StoreMaskBits(u, kept, bytes);
    } else {
      uint8_t bits[8];
      hn::StoreMaskBits(u, kept, bits);
      *bytes = static_cast<uint8_t>(*bytes | bits[0] << (at % 8));
    }
  });
}
#else
void Random(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t* out) {
  kPlainBlocks.random_bits(seed, name, stream, first, n, out);
}
void RandomMask(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t limit,
                uint64_t* mask) {
  kPlainBlocks.random_mask(seed, name, stream, first, n, limit, mask);
}
#endif

}  // namespace

const Blocks* Table() {
  static const Blocks table = {
      hwy::TargetName(HWY_TARGET),
      LoadBf16,
      LoadF16,
      StoreBf16,
      StoreF16,
      StoreF32,
      Scale,
      AddScaled,
      Add,
      Subtract,
      Multiply,
      Divide,
      DivideEach,
      KeepBetween,
      KeepRandom,
      KeepMasked,
      Elect,
      Near,
      Dot,
      SumAbs,
      SumsAbsMasked,
      CountHigh,
      CountLow,
      CountEqual,
      CollectBetween,
      Random,
      RandomMask,
  };
  return &table;
}

}  // namespace HWY_NAMESPACE
}  // namespace editd::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace editd::kernels {
namespace {
HWY_EXPORT(Table);
}  // namespace

const Blocks& ForThisMachine() {
  static const Blocks* const best = HWY_DYNAMIC_DISPATCH(Table)();
  return *best;
}

std::vector<const Blocks*> AllBlocks() {
  std::vector<const Blocks*> all = {&kPlainBlocks};
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    all.push_back(HWY_DYNAMIC_DISPATCH(Table)());
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return all;
}

}  // namespace editd::kernels
#endif
