// The arithmetic of edits that stream over tensors: float32 on blocks of a few thousand elements, which stay in a
// core's nearest cache, and conversions from and to the types that tensors are stored in.
//
// One source for all instruction sets (blocks.cc, Highway), chosen at run time, and a plain version that says what each
// function means (blocks_plain.cc). All give the same bits: there is no contraction of a product and a sum, and sums
// run in sixteen lanes of double whatever the machine's vectors are. Products of two floats are exact in double.
//
// Thread-safe: functions of their arguments. Pointers need no alignment; outputs may be an input, but not overlap it
// otherwise.
#ifndef EDITD_PLUGINS_LIB_KERNELS_BLOCKS_H_
#define EDITD_PLUGINS_LIB_KERNELS_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace editd::kernels {

// A float's bits without the sign: magnitudes are ordered as these integers are.
inline constexpr uint32_t kMagnitudeBits = 0x7fffffff;
// Counters of a histogram by the upper half of a magnitude (sign left out), and by the lower half.
inline constexpr size_t kHighCounts = 1 << 15;
inline constexpr size_t kLowCounts = 1 << 16;

// Room that a function may write to beyond its result.
inline constexpr size_t kMaxLanes = 16;

// Of numbers at the same place, one a model, those of one sign count. The sign is that of a sum (zero: plus).
struct Election {
  enum class By { kWeighted, kPlain, kSigns };  // The sum of weights times numbers, of numbers, of their signs.
  By by = By::kWeighted;
  size_t models = 0;
  const float* weights = nullptr;  // A model each.
  const float* shares = nullptr;   // What a number that counts adds to the divisor; null: nothing is divided by.
};

struct Blocks {
  const char* name;

  // --- stored types
  // ----------------------------------------------------------------------------------------------------
  void (*load_bf16)(const void* in, size_t n, float* out);
  void (*load_f16)(const void* in, size_t n, float* out);
  // Round to nearest, ties to even. False if something stored is not finite.
  bool (*store_bf16)(const float* in, size_t n, void* out);
  bool (*store_f16)(const float* in, size_t n, void* out);
  bool (*store_f32)(const float* in, size_t n, void* out);

  // --- element by element
  // ----------------------------------------------------------------------------------------------
  void (*scale)(const float* x, float by, size_t n, float* out);       // x * by
  void (*add_scaled)(const float* x, float by, size_t n, float* out);  // out + x * by
  void (*add)(const float* x, const float* y, size_t n, float* out);
  void (*subtract)(const float* x, const float* y, size_t n, float* out);
  void (*multiply)(const float* x, const float* y, size_t n, float* out);
  void (*divide)(float* x, float by, size_t n);
  // num / den, or num where den is zero.
  void (*divide_each)(float* num, const float* den, size_t n);
  // Zero, unless the magnitude's bits are at least `least` and below `end`.
  void (*keep_between)(float* x, uint32_t least, uint32_t end, size_t n);
  // Zero where bits[i] >= limit.
  void (*keep_random)(float* x, const uint32_t* bits, uint32_t limit, size_t n);
  // Zero where the mask's bit is: bit i % 64 of word i / 64.
  void (*keep_masked)(float* x, const uint64_t* mask, size_t n);
  // The sum of those numbers times their weights that have the elected sign (see Election). x[i] has n numbers.
  void (*elect)(const float* const* x, const Election& election, size_t n, float* out);
  // x * clamp(t / max(|base - x|, 1e-6), 0, 1) + base * (1 - that)
  void (*near)(const float* base, const float* x, float t, size_t n, float* out);

  // --- sums
  // ------------------------------------------------------------------------------------------------------------
  double (*dot)(const float* x, const float* y, size_t n);
  double (*sum_abs)(const float* x, size_t n);
  // The same of all, and of those whose bit is set.
  void (*sums_abs_masked)(const float* x, const uint64_t* mask, size_t n, double* all, double* kept);

  // --- selection
  // -------------------------------------------------------------------------------------------------------
  // counts[magnitude >> 16] += 1.
  void (*count_high)(const float* x, size_t n, uint32_t* counts);
  // counts[magnitude & 0xffff] += 1 where magnitude >> 16 is `high`.
  void (*count_low)(const float* x, uint32_t high, size_t n, uint32_t* counts);
  // How many magnitudes equal `key`.
  size_t (*count_equal)(const float* x, uint32_t key, size_t n);
  // Magnitudes from `least` to below `end`, in order, go to `out` (room for n + kMaxLanes), the number of those from
  // `end` on is added to *above. Returns how many went to `out`.
  size_t (*collect_between)(const float* x, uint32_t least, uint32_t end, size_t n, uint32_t* out, uint64_t* above);

  // --- random bits
  // ----------------------------------------------------------------------------------------------------- See
  // RandomBits in random.h. `first` is a multiple of 64; n is rounded up to one, and so much is written.
  void (*random_bits)(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t* out);
  // Bit i: whether element first + i's 32 bits are below `limit`. A word for each 64 elements, the last one whole.
  void (*random_mask)(uint64_t seed, uint64_t name, uint32_t stream, uint64_t first, size_t n, uint32_t limit,
                      uint64_t* mask);
};

// The best for this processor.
const Blocks& ForThisMachine();
// The plain version first, then all that this processor can run.
std::vector<const Blocks*> AllBlocks();
extern const Blocks kPlainBlocks;

}  // namespace editd::kernels

#endif  // EDITD_PLUGINS_LIB_KERNELS_BLOCKS_H_
