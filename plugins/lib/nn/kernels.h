// The arithmetic between matrix products, on single rows: norms, rotations, soft-max.
//
// One source (kernels.inc), compiled for AVX-512, for AVX2 and for any processor; Kernels() picks at run time. All
// arithmetic is float32; what feeds a matrix product is rounded once, to the compute type.
//
// Thread-safe: functions of their arguments.
#ifndef EDITD_PLUGINS_LIB_NN_KERNELS_H_
#define EDITD_PLUGINS_LIB_NN_KERNELS_H_

#include <cstdint>

namespace editd::nn {

// The type that matrices are multiplied in. Sums are float32 in both.
enum class Compute : int { kF32, kBF16 };
inline constexpr int64_t BytesOf(Compute compute) { return compute == Compute::kF32 ? 4 : 2; }

// The type that weights are stored in.
enum class Stored : int { kF32, kBF16, kF16 };
inline constexpr int64_t BytesOf(Stored stored) { return stored == Stored::kF32 ? 4 : 2; }

// What a part of a row of logits gives for its soft-max: sum = sum of exp(x - max).
struct ExpSum {
  float max;
  float sum;
};

// How far two rows of logits a and b are apart, over the same columns. With p and q their soft-max and x = ln(q / p):
struct PairSums {
  float kl;                                // Sum of p (e^x - 1 - x): what KL(p || q) is a sum of, with no term below 0.
  float kl_reverse;                        // The same of KL(q || p).
  float js;                                // Sum of half of p ln(p / m) + q ln(q / m), m = (p + q) / 2, likewise.
  float max_abs, squares;                  // Of b - a.
  float max_abs_centred, squares_centred;  // Of b - a - centre.
};
struct PairScales {
  float a, b;    // p = a * exp_a, q = b * exp_b.
  float shift;   // x = b - a - shift.
  float centre;  // Mean of b - a.
};

// A product of matrices; block_gemm.h says what it reads.
using BlockGemm = void (*)(int64_t m, int64_t n, int64_t k, const void* a, int64_t lda, const void* b, int64_t ldb,
                           float* c, int64_t ldc, bool add);

struct KernelTable {
  const char* name;
  // out = x / rms(x) * weight.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, Compute compute, void* out);
  // out = silu(gate) * up.
  void (*swiglu)(const float* gate, const float* up, int64_t n, Compute compute, void* out);
  // out = gelu(gate) * up, gelu by its tanh form.
  void (*geglu)(const float* gate, const float* up, int64_t n, Compute compute, void* out);
  // x = cap * tanh(x / cap), in place.
  void (*soft_cap)(float* x, int64_t n, float cap);
  // Rotates (x[i], x[half + i]) by an angle given as its cosine and sine, in place.
  void (*rotate)(float* x, const float* cosine, const float* sine, int64_t half);
  void (*add)(float* x, const float* y, int64_t n);
  // out = x * scale.
  void (*convert)(const float* x, float scale, int64_t n, Compute compute, void* out);
  // out = exp(x - max(x)) over columns [begin, end), 0 elsewhere up to `n`. Returns the sum of what it wrote.
  float (*exp_row)(const float* x, int64_t begin, int64_t end, int64_t n, Compute compute, void* out);
  ExpSum (*exp_sum)(const float* x, int64_t n);
  float (*max_of)(const float* x, int64_t n);
  // out = exp(x - max); returns the sum.
  float (*exp_below)(const float* x, float max, int64_t n, float* out);
  float (*difference_sum)(const float* a, const float* b, int64_t n);  // Of b - a.
  PairSums (*pair_sums)(const float* a, const float* b, const float* exp_a, const float* exp_b, int64_t n,
                        PairScales scales);
  // Elements as floats. `in` may have any alignment.
  void (*widen)(Stored stored, const void* in, int64_t n, float* out);
  // Turns `columns` rows of `units` (32 bits: the compute type's pairs for bf16) one after the other, of any alignment,
  // into columns of out, which is units x stride: what BlockGemm reads.
  void (*transpose_units)(const void* rows, int64_t columns, int64_t units, int64_t stride, uint32_t* out);
  BlockGemm multiply[2];  // By Compute.
  // m rows of x (k elements in the compute type) as `dot` reads them: 2 * m * (k, to a multiple of 32) floats.
  void (*arrange)(Compute compute, const void* x, int64_t m, int64_t k, float* out);
  // y[i * ldy + r] = sum of x[i][l] * w[r * k + l]: products with rows of a matrix where they lie, of any alignment.
  // `x` is arranged. `compute` bf16: weights are rounded to it, as x was. An element does not depend on m or rows.
  void (*dot)(Stored stored, Compute compute, const void* w, int64_t rows, int64_t k, const float* x, int64_t m,
              float* y, int64_t ldy);
};

const KernelTable& Kernels();
// Every table that this processor can run, the best first.
int AvailableKernels(const KernelTable** tables, int room);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_KERNELS_H_
