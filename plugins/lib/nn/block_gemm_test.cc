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

Buffer Packed(const WeightMatrix& matrix, Compute compute) {
  Buffer out(matrix.blocks() * matrix.block_bytes(compute)), scratch;
  for (int64_t b = 0; b < matrix.blocks(); ++b) {
    matrix.Pack(compute, b, &scratch, out.As<char>() + b * matrix.block_bytes(compute));
  }
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
  const WeightMatrix matrix({{DType::kF32, {33, k}, one.data()}, {DType::kF32, {60, k}, two.data()}});
  const Buffer packed = Packed(matrix, compute);
  for (BlockGemm gemm : Engines(compute)) {
    std::vector<float> y(m * 93, 1.0f);
    matrix.Multiply(gemm, compute, packed.As<void>(), m, rounded.data(), k, y.data(), 93, /*add=*/true);
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
  const WeightMatrix matrix({{DType::kF32, {48, k}, w.data()}});
  const Buffer packed = Packed(matrix, compute);
  std::vector<float> all(m * 48), part(m * 48);
  for (BlockGemm gemm : Engines(compute)) {
    matrix.Multiply(gemm, compute, packed.As<void>(), m, rounded.data(), k, all.data(), 48, false);
    for (int64_t first = 0; first < m; ++first) {
      for (int64_t rows : {1, 2, 3, 7, 32, 63}) {
        if (first + rows > m) continue;
        matrix.Multiply(gemm, compute, packed.As<void>(), rows, rounded.data() + first * k * bytes, k, part.data(), 48,
                        false);
        ASSERT_EQ(std::memcmp(part.data(), &all[first * 48], rows * 48 * sizeof(float)), 0) << first << " " << rows;
      }
    }
  }
}

// Decoding's products, over weights of each type at an odd address and depths with and without a tail.
TEST_P(EachGemm, ProductsWithRowsWhereTheyLie) {
  const Compute compute = GetParam();
  std::mt19937 random(5);
  std::uniform_int_distribution<int> whole(-20, 20);  // Sums of products stay exact, in every type.
  for (const int64_t k : {576, 98, 7}) {
    std::vector<float> x(9 * k), w(93 * k);
    for (auto* v : {&x, &w}) {
      for (float& f : *v) f = static_cast<float>(whole(random)) / 4;
    }
    std::vector<char> rounded(9 * k * BytesOf(compute));
    Kernels().convert(x.data(), 1.0f, 9 * k, compute, rounded.data());
    Buffer arranged;
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      std::vector<char> bytes(2 + w.size() * DTypeBytes(dtype));
      for (size_t i = 0; i < w.size(); ++i) {
        const uint16_t half = dtype == DType::kF16 ? FloatToHalf(w[i]) : FloatToBFloat16(w[i]);
        if (dtype == DType::kF32) std::memcpy(&bytes[2 + i * 4], &w[i], 4);
        if (dtype != DType::kF32) std::memcpy(&bytes[2 + i * 2], &half, 2);
      }
      const char* const second = bytes.data() + 2 + 33 * k * DTypeBytes(dtype);
      const WeightMatrix matrix({{dtype, {33, k}, bytes.data() + 2}, {dtype, {60, k}, second}});
      for (const int64_t m : {1, 4, 9}) {
        std::vector<float> y(m * 50, 0.0f);
        matrix.Arrange(compute, m, rounded.data(), &arranged);
        matrix.MultiplyRows(compute, 20, 50, m, arranged, y.data(), 50);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < 50; ++j) {
            float sum = 0;
            for (int64_t l = 0; l < k; ++l) sum += x[i * k + l] * w[(20 + j) * k + l];
            ASSERT_EQ(y[i * 50 + j], sum) << k << " " << m << " " << i << " " << j;
          }
        }
      }
    }
  }
}

TEST_P(EachGemm, BitsOfAnOutputDoNotDependOnItsNeighbours) {
  const int64_t k = 100;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> x(9 * k), w(31 * k), all(9 * 31), part(9 * 31);
  for (auto* v : {&x, &w}) {
    for (float& f : *v) f = normal(random);
  }
  const WeightMatrix matrix({{DType::kF32, {31, k}, w.data()}});
  std::vector<char> rounded(9 * k * BytesOf(GetParam()));
  Kernels().convert(x.data(), 1.0f, 9 * k, GetParam(), rounded.data());
  Buffer arranged;
  matrix.Arrange(GetParam(), 9, rounded.data(), &arranged);
  matrix.MultiplyRows(GetParam(), 0, 31, 9, arranged, all.data(), 31);
  for (const int64_t m : {1, 3, 5}) {
    matrix.Arrange(GetParam(), m, rounded.data() + 2 * k * BytesOf(GetParam()), &arranged);
    for (int64_t first = 0; first < 31; ++first) {
      for (const int64_t count : {1, 2, 6}) {
        if (first + count > 31) continue;
        matrix.MultiplyRows(GetParam(), first, count, m, arranged, part.data(), count);
        for (int64_t i = 0; i < m; ++i) {
          ASSERT_EQ(std::memcmp(&part[i * count], &all[(i + 2) * 31 + first], count * sizeof(float)), 0) << first;
        }
      }
    }
  }
}

}  // namespace
}  // namespace editd::nn
