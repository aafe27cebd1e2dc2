#include "plugins/adapter/matmul.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "storage/base/testing.h"

namespace editd::adapter {
namespace {

std::vector<float> Numbers(size_t count, uint32_t seed) {
  std::vector<float> out(count);
  for (float& x : out) {
    seed = seed * 1664525u + 1013904223u;
    x = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return out;
}

// The sum as the header says it: from first to last, product and sum rounded each.
float Element(const std::vector<float>& left, size_t row_step, size_t k_step, const std::vector<float>& right,
              size_t columns, size_t depth, size_t i, size_t j, float sum) {
  for (size_t k = 0; k < depth; ++k) {
    const volatile float product = left[i * row_step + k * k_step] * right[k * columns + j];
    sum += product;
  }
  return sum;
}

TEST(MultiplyAdd, EachSumIsInItsOrderWhateverTheShape) {
  for (const auto& [rows, depth, columns] :
       std::vector<std::array<size_t, 3>>{{1, 1, 1}, {4, 8, 32}, {7, 300, 33}, {64, 5, 70}, {3, 129, 31}, {9, 0, 40}}) {
    const std::vector<float> left = Numbers(rows * depth, 1), right = Numbers(depth * columns, 2),
                             start = Numbers(rows * columns, 3);
    for (const bool transposed : {false, true}) {
      const size_t row_step = transposed ? 1 : depth, k_step = transposed ? rows : 1;
      std::vector<float> out = start;
      MultiplyAdd({left.data(), static_cast<ptrdiff_t>(row_step), static_cast<ptrdiff_t>(k_step)}, right.data(),
                  static_cast<ptrdiff_t>(columns), rows, depth, columns, out.data(), static_cast<ptrdiff_t>(columns));
      for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < columns; ++j) {
          const float expected = Element(left, row_step, k_step, right, columns, depth, i, j, start[i * columns + j]);
          ASSERT_EQ(out[i * columns + j], expected) << rows << " " << depth << " " << columns << " " << i << " " << j;
        }
      }
    }
  }
}

TEST(MultiplyAdd, ASplitOfRowsChangesNothing) {
  const size_t rows = 21, depth = 40, columns = 50;
  const std::vector<float> left = Numbers(rows * depth, 4), right = Numbers(depth * columns, 5);
  std::vector<float> whole(rows * columns), parts(rows * columns);
  MultiplyAdd({left.data(), depth, 1}, right.data(), columns, rows, depth, columns, whole.data(), columns);
  for (size_t first = 0; first < rows; first += 5) {
    MultiplyAdd({left.data() + first * depth, depth, 1}, right.data(), columns, std::min<size_t>(5, rows - first),
                depth, columns, parts.data() + first * columns, columns);
  }
  EXPECT_EQ(whole, parts);
}

}  // namespace
}  // namespace editd::adapter
