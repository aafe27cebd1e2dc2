// Matrix products by blocks: C (+)= A B, float32 sums, B a narrow block that stays in the cache.
//
// All products of the decoder go through this one function type, so that a faster engine has one place to enter. Two
// implementations: oneDNN's batch-reduce kernels through libtorch (block_gemm_onednn.h: made for the processor at hand,
// with what it has for bf16), and one in plain vector code for processors that oneDNN's do not know. A product's
// element depends only on its row of A and its column of B, never on how many others are computed with it: results do
// not change with batch or threads.
//
// B's layout: k x n, row-major, `ldb` columns apart; for bf16 pairs of rows interleaved (k/2 x n x 2), so that one
// 32-bit unit holds two neighbours of k. `ldb` counts columns in both.
#ifndef EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_H_
#define EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_H_

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "plugins/lib/nn/buffer.h"
#include "plugins/lib/nn/kernels.h"
#include "plugins/lib/nn/weights.h"

namespace editd::nn {

// BlockGemm (kernels.h): m x k by k x n; leading dimensions in elements. `add`: C += A B. `k` is even for bf16.
inline BlockGemm PortableBlockGemm(Compute compute) { return Kernels().multiply[static_cast<int>(compute)]; }

inline constexpr int64_t kBlockColumns = 48;  // Measured best among 32 to 96.
inline constexpr int64_t kBlockRows = 64;

// Rows of a stored matrix (out x in), as one or more blocks that compute x W^T.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  // `rows[i]` of `source` becomes column i; -1 a column of zeros.
  static void PackBlock(Compute compute, const TensorView& source, std::span<const int64_t> rows, Buffer* scratch,
                        uint32_t* out);
  // Several matrices of the same width on top of each other.
  PackedMatrix(Compute compute, const std::vector<TensorView>& sources, int threads);

  int64_t columns() const { return columns_; }
  int64_t depth() const { return depth_; }
  int64_t blocks() const { return (columns_ + kBlockColumns - 1) / kBlockColumns; }
  int64_t block_columns(int64_t block) const { return std::min(kBlockColumns, columns_ - block * kBlockColumns); }
  const void* block(int64_t block) const { return data_.As<uint32_t>() + block * units_ * kBlockColumns; }

  // y[m x columns] (+)= x[m x depth] W^T.
  void Multiply(BlockGemm gemm, int64_t m, const void* x, int64_t ldx, float* y, int64_t ldy, bool add) const;

 private:
  int64_t columns_ = 0;  // Outputs.
  int64_t depth_ = 0;    // Inputs.
  int64_t units_ = 0;    // 32-bit units of one row.
  Buffer data_;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_H_
