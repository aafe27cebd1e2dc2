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

// What a part of a row of logits gives for its soft-max: sum = sum of exp(x - max).
struct ExpSum {
  float max;
  float sum;
};

// The same of two rows over the same columns, and how far they are apart.
struct PairSums {
  ExpSum a, b;
  float weighted;    // Sum of exp(a - a.max) * (a - b).
  float max_abs;     // Largest |a - b|.
  float squares;     // Sum of (a - b)^2.
  int32_t argmax_a;  // First column of the largest a, of the largest b.
  int32_t argmax_b;
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
  PairSums (*pair_sums)(const float* a, const float* b, int64_t n);
  // Turns `columns` rows of k elements (32-bit units; the compute type's pairs for bf16) into units x stride: what
  // BlockGemm reads. Columns up to `stride` become zero.
  void (*transpose_units)(const uint32_t* rows, int64_t columns, int64_t units, int64_t stride, uint32_t* out);
  BlockGemm multiply[2];  // By Compute.
};

const KernelTable& Kernels();
// Every table that this processor can run, the best first.
int AvailableKernels(const KernelTable** tables, int room);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_KERNELS_H_
