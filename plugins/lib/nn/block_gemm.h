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

// A matrix of weights, out x in, where it lies: one tensor, or several of the same width on top of each other. Products
// of many rows want it packed by blocks of kBlockColumns outputs, in memory that the caller has; products of a few rows
// read it as it is.
//
// Thread-safe: read-only. The tensors' memory must outlive it.
class WeightMatrix {
 public:
  WeightMatrix() = default;
  explicit WeightMatrix(std::vector<TensorView> sources);

  int64_t columns() const { return columns_; }  // Outputs.
  int64_t depth() const { return depth_; }      // Inputs.
  const std::vector<TensorView>& sources() const { return sources_; }
  int64_t blocks() const { return (columns_ + kBlockColumns - 1) / kBlockColumns; }
  int64_t block_columns(int64_t block) const { return std::min(kBlockColumns, columns_ - block * kBlockColumns); }

  // Bytes of a block, packed.
  int64_t block_bytes(Compute compute) const { return depth_ * BytesOf(compute) * kBlockColumns; }
  const void* block(Compute compute, const void* packed, int64_t i) const {
    return static_cast<const char*>(packed) + i * block_bytes(compute);
  }
  // Packs block `block` into block_bytes() at `packed`. Columns beyond block_columns() keep what was there.
  void Pack(Compute compute, int64_t block, Buffer* scratch, void* packed) const;
  // y[m x columns] (+)= x[m x depth] W^T, with all blocks packed one after the other.
  void Multiply(BlockGemm gemm, Compute compute, const void* packed, int64_t m, const void* x, int64_t ldx, float* y,
                int64_t ldy, bool add) const;

  // Puts x[m x depth], in the compute type, where MultiplyRows of any matrix of this depth reads it.
  void Arrange(Compute compute, int64_t m, const void* x, Buffer* arranged) const;
  // Outputs [first, first + count) of x[m x depth] W^T, unpacked: y[m x count]. An output has the same bits whatever m,
  // first and count; they are not those of Multiply.
  void MultiplyRows(Compute compute, int64_t first, int64_t count, int64_t m, const Buffer& arranged, float* y,
                    int64_t ldy) const;

 private:
  // f(tensor, its first row, rows, their offset from `first`) for the parts of rows [first, first + count).
  template <typename F>
  void ForEachPart(int64_t first, int64_t count, F&& f) const;

  std::vector<TensorView> sources_;
  int64_t columns_ = 0, depth_ = 0;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_H_
