// Products of a thin and a wide matrix in float32, each sum in one fixed order.
//
// An element's sum runs over the inner dimension from first to last, product and sum rounded each, with nothing
// contracted: the same bits for any split of rows or columns among threads or tiles, and on any machine.
//
// Thread-safe: functions of their arguments.
#ifndef EDITD_PLUGINS_ADAPTER_MATMUL_H_
#define EDITD_PLUGINS_ADAPTER_MATMUL_H_

#include <cstddef>
#include <cstdint>

namespace editd::adapter {

// A matrix in memory: element (i, k) is data[i * row_step + k * column_step].
struct MatrixView {
  const float* data = nullptr;
  ptrdiff_t row_step = 0, column_step = 1;
};

// out[i * out_step + j] += sum over k of left(i, k) * right[k * right_step + j], for rows x columns; `depth` values of
// k. The sum begins with what is in `out`.
void MultiplyAdd(MatrixView left, const float* right, ptrdiff_t right_step, size_t rows, size_t depth, size_t columns,
                 float* out, ptrdiff_t out_step);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_MATMUL_H_
