// A block of four rows and 32 columns of the result stays in registers while the inner dimension goes by: each step
// loads 32 elements of the right matrix and four of the left. Vectors are the compiler's own; it makes of them what
// each instruction set has, and the loader picks the best one. The rest of a row that is no full block takes a copy of
// the right matrix's columns, padded with zeros, through the same block.
#include "plugins/adapter/matmul.h"

#include <algorithm>
#include <cstring>

#include "plugins/lib/formats/target_clones.h"

namespace editd::adapter {
namespace {

constexpr size_t kRows = 4, kColumns = 32;
typedef float Vector __attribute__((vector_size(64), aligned(4)));

EDITD_FOR_EACH_CPU void Block(const float* left, ptrdiff_t row_step, ptrdiff_t k_step, const float* right,
                              ptrdiff_t right_step, size_t depth, float* out, ptrdiff_t out_step) {
  Vector sum[kRows][2];
  for (size_t i = 0; i < kRows; ++i) {
    std::memcpy(&sum[i][0], out + static_cast<ptrdiff_t>(i) * out_step, 64);
    std::memcpy(&sum[i][1], out + static_cast<ptrdiff_t>(i) * out_step + 16, 64);
  }
  for (size_t k = 0; k < depth; ++k, left += k_step, right += right_step) {
    Vector r0, r1;
    std::memcpy(&r0, right, 64);
    std::memcpy(&r1, right + 16, 64);
    for (size_t i = 0; i < kRows; ++i) {
      const float l = left[static_cast<ptrdiff_t>(i) * row_step];
      sum[i][0] += r0 * l;
      sum[i][1] += r1 * l;
    }
  }
  for (size_t i = 0; i < kRows; ++i) {
    std::memcpy(out + static_cast<ptrdiff_t>(i) * out_step, &sum[i][0], 64);
    std::memcpy(out + static_cast<ptrdiff_t>(i) * out_step + 16, &sum[i][1], 64);
  }
}

// A block that is not full, through one that is.
void Edge(const float* left, ptrdiff_t row_step, ptrdiff_t k_step, const float* right, ptrdiff_t right_step,
          size_t depth, size_t rows, size_t columns, float* out, ptrdiff_t out_step) {
  constexpr size_t kDepth = 128;
  float sums[kRows * kColumns] = {}, left_copy[kDepth * kRows] = {}, right_copy[kDepth * kColumns] = {};
  for (size_t i = 0; i < rows; ++i) {
    std::memcpy(sums + i * kColumns, out + static_cast<ptrdiff_t>(i) * out_step, columns * sizeof(float));
  }
  for (size_t k = 0; k < depth; k += kDepth) {
    const size_t count = std::min(kDepth, depth - k);
    for (size_t d = 0; d < count; ++d) {
      const auto at = static_cast<ptrdiff_t>(k + d);
      for (size_t i = 0; i < rows; ++i) {
        left_copy[d * kRows + i] = left[at * k_step + static_cast<ptrdiff_t>(i) * row_step];
      }
      std::memcpy(right_copy + d * kColumns, right + at * right_step, columns * sizeof(float));
    }
    Block(left_copy, 1, kRows, right_copy, kColumns, count, sums, kColumns);
  }
  for (size_t i = 0; i < rows; ++i) {
    std::memcpy(out + static_cast<ptrdiff_t>(i) * out_step, sums + i * kColumns, columns * sizeof(float));
  }
}

}  // namespace

void MultiplyAdd(MatrixView left, const float* right, ptrdiff_t right_step, size_t rows, size_t depth, size_t columns,
                 float* out, ptrdiff_t out_step) {
  for (size_t j = 0; j < columns; j += kColumns) {
    const size_t width = std::min(kColumns, columns - j);
    for (size_t i = 0; i < rows; i += kRows) {
      const size_t height = std::min(kRows, rows - i);
      const float* l = left.data + static_cast<ptrdiff_t>(i) * left.row_step;
      float* to = out + static_cast<ptrdiff_t>(i) * out_step + j;
      if (height == kRows && width == kColumns) {
        Block(l, left.row_step, left.column_step, right + j, right_step, depth, to, out_step);
      } else {
        Edge(l, left.row_step, left.column_step, right + j, right_step, depth, height, width, to, out_step);
      }
    }
  }
}

}  // namespace editd::adapter
