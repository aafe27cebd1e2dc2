#include "plugins/lib/nn/block_gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "plugins/lib/nn/block_gemm_onednn.h"

namespace editd::nn {
namespace {

// Both engines; the portable one for each instruction set.
std::vector<BlockGemm> Engines(Compute compute) {
  const KernelTable* tables[8];
  std::vector<BlockGemm> out;
  for (int i = 0, count = AvailableKernels(tables, 8); i < count; ++i) {
    out.push_back(tables[i]->multiply[static_cast<int>(compute)]);
  }
  if (OneDnnBlockGemm(compute) != nullptr) out.push_back(OneDnnBlockGemm(compute));
  return out;
}

class EachGemm : public ::testing::TestWithParam<Compute> {};
INSTANTIATE_TEST_SUITE_P(Type, EachGemm, ::testing::Values(Compute::kF32, Compute::kBF16));

TEST_P(EachGemm, ProductsAreRightAndDoNotDependOnTheirNeighbours) {
  const Compute compute = GetParam();
  const int64_t bytes = BytesOf(compute), m = 64, k = 98;
  std::mt19937 random(3);
  std::uniform_int_distribution<int> whole(-20, 20);  // Sums of products stay exact.
  std::vector<float> x(m * k), one(33 * k), two(60 * k);
  for (auto* v : {&x, &one, &two}) {
    for (float& f : *v) f = static_cast<float>(whole(random)) / 4;
  }
  std::vector<char> rounded(m * k * bytes);
  Kernels().convert(x.data(), 1.0f, m * k, compute, rounded.data());
  // 93 columns from two matrices: a block spans both, and the last is not full.
  const PackedMatrix packed(compute, {{DType::kF32, {33, k}, one.data()}, {DType::kF32, {60, k}, two.data()}}, 2);
  for (BlockGemm gemm : Engines(compute)) {
    std::vector<float> y(m * 93, 1.0f);
    packed.Multiply(gemm, m, rounded.data(), k, y.data(), 93, /*add=*/true);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < 93; ++j) {
        const float* const w = j < 33 ? &one[j * k] : &two[(j - 33) * k];
        float sum = 1.0f;
        for (int64_t l = 0; l < k; ++l) sum += x[i * k + l] * w[l];
        ASSERT_EQ(y[i * 93 + j], sum) << i << " " << j;
      }
    }
  }
}

// What the decoder's promise rests on: with values that do round, any number of rows gives the same bits.
TEST_P(EachGemm, BitsDoNotDependOnTheNumberOfRows) {
  const Compute compute = GetParam();
  const int64_t bytes = BytesOf(compute), m = 64, k = 576;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(m * k), w(48 * k);
  for (auto* v : {&x, &w}) {
    for (float& f : *v) f = normal(random);
  }
  std::vector<char> rounded(m * k * bytes);
  Kernels().convert(x.data(), 1.0f, m * k, compute, rounded.data());
  const PackedMatrix packed(compute, {{DType::kF32, {48, k}, w.data()}}, 1);
  std::vector<float> all(m * 48), part(m * 48);
  for (BlockGemm gemm : Engines(compute)) {
    packed.Multiply(gemm, m, rounded.data(), k, all.data(), 48, false);
    for (int64_t first = 0; first < m; ++first) {
      for (int64_t rows : {1, 2, 3, 7, 32, 63}) {
        if (first + rows > m) continue;
        packed.Multiply(gemm, rows, rounded.data() + first * k * bytes, k, part.data(), 48, false);
        ASSERT_EQ(std::memcmp(part.data(), &all[first * 48], rows * 48 * sizeof(float)), 0) << first << " " << rows;
      }
    }
  }
}

}  // namespace
}  // namespace editd::nn
