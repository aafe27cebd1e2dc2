#include "plugins/lib/nn/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "storage/base/dtype.h"

namespace editd::nn {
namespace {

// Every table that this processor can run gives what double precision gives, at every length.
class EachTable : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const KernelTable* tables[8];
    if (GetParam() >= AvailableKernels(tables, 8)) GTEST_SKIP() << "not on this processor";
    kernels_ = tables[GetParam()];
  }
  std::vector<float> Random(int64_t n, float scale) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> out(n);
    for (float& x : out) x = normal(random_);
    return out;
  }
  const KernelTable* kernels_ = nullptr;
  std::mt19937 random_{7};
};
INSTANTIATE_TEST_SUITE_P(Tables, EachTable, ::testing::Values(0, 1, 2));

TEST_P(EachTable, NormsAndGatesAsInDouble) {
  for (int64_t n : {1, 2, 15, 16, 17, 48, 80, 576}) {
    const auto x = Random(n, 3), w = Random(n, 1);
    std::vector<float> out(n);
    kernels_->rms_norm(x.data(), w.data(), n, 1e-5f, Compute::kF32, out.data());
    double squares = 0;
    for (float v : x) squares += static_cast<double>(v) * v;
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], x[i] / std::sqrt(squares / n + 1e-5) * w[i], 1e-6 * (1 + std::abs(out[i])));
    }
    kernels_->swiglu(x.data(), w.data(), n, Compute::kF32, out.data());
    for (int64_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], x[i] / (1 + std::exp(-static_cast<double>(x[i]))) * w[i], 1e-6 * (1 + std::abs(out[i])));
    }
    std::vector<uint16_t> rounded(n);
    kernels_->swiglu(x.data(), w.data(), n, Compute::kBF16, rounded.data());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(rounded[i], FloatToBFloat16(out[i]));
  }
}

TEST_P(EachTable, SoftMaxPartsAsInDouble) {
  for (int64_t n : {1, 16, 31, 96, 384, 400}) {
    const auto a = Random(n, 8);
    const ExpSum sums = kernels_->exp_sum(a.data(), n);
    double sum = 0;
    for (float x : a) sum += std::exp(static_cast<double>(x) - sums.max);
    EXPECT_EQ(sums.max, *std::max_element(a.begin(), a.end()));
    EXPECT_NEAR(sums.sum, sum, 1e-6 * sum);
    EXPECT_EQ(kernels_->max_of(a.data(), n), sums.max);
    std::vector<float> exps(n);
    EXPECT_NEAR(kernels_->exp_below(a.data(), sums.max, n, exps.data()), sum, 1e-6 * sum);
    for (int64_t i = 0; i < n; ++i) EXPECT_NEAR(exps[i], std::exp(static_cast<double>(a[i]) - sums.max), 1e-6);
  }
}

// Near and far: terms come from series where the rows nearly agree, and from the definition elsewhere.
TEST_P(EachTable, DivergencesAsInDouble) {
  for (int64_t n : {1, 16, 31, 400}) {
    for (float apart : {0.0f, 1e-4f, 1e-2f, 0.3f, 2.0f, 20.0f}) {
      const auto a = Random(n, 4);
      auto b = a;
      for (float& x : b) x += apart * Random(1, 1)[0] + apart;
      double sum_a = 0, sum_b = 0, mean = 0;
      std::vector<float> exp_a(n), exp_b(n);
      for (int64_t i = 0; i < n; ++i) {
        sum_a += std::exp(static_cast<double>(a[i])), sum_b += std::exp(static_cast<double>(b[i]));
        exp_a[i] = std::exp(a[i]), exp_b[i] = std::exp(b[i]);
        mean += (static_cast<double>(b[i]) - a[i]) / n;
      }
      double kl = 0, reverse = 0, js = 0, squares = 0, centred = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double la = a[i] - std::log(sum_a), lb = b[i] - std::log(sum_b), p = std::exp(la), q = std::exp(lb);
        const double lm = std::log((p + q) / 2), d = static_cast<double>(b[i]) - a[i];
        kl += p * (la - lb), reverse += q * (lb - la), js += (p * (la - lm) + q * (lb - lm)) / 2;
        squares += d * d, centred += (d - mean) * (d - mean);
      }
      EXPECT_NEAR(kernels_->difference_sum(a.data(), b.data(), n), mean * n, 1e-5 * (1 + std::abs(mean) * n));
      const PairSums sums =
          kernels_->pair_sums(a.data(), b.data(), exp_a.data(), exp_b.data(), n,
                              {static_cast<float>(1 / sum_a), static_cast<float>(1 / sum_b),
                               static_cast<float>(std::log(sum_b) - std::log(sum_a)), static_cast<float>(mean)});
      const double scale = 1e-4 * apart * apart + 1e-13;
      EXPECT_NEAR(sums.kl, kl, 1e-5 * kl + 1e-3 * scale) << n << " " << apart;
      EXPECT_NEAR(sums.kl_reverse, reverse, 1e-5 * reverse + 1e-3 * scale);
      EXPECT_NEAR(sums.js, js, 1e-5 * js + 1e-3 * scale);
      EXPECT_NEAR(sums.squares, squares, 1e-5 * squares);
      EXPECT_NEAR(sums.squares_centred, centred, 1e-4 * centred + 1e-9);
      EXPECT_GE(sums.kl, 0);
      EXPECT_GE(sums.js, 0);
    }
  }
}

TEST_P(EachTable, MaskedColumnsAreZero) {
  const auto x = Random(96, 4);
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{
           {0, 1}, {0, 2}, {0, 16}, {0, 33}, {0, 96}, {3, 5}, {15, 17}, {16, 95}, {31, 32}, {40, 96}}) {
    std::vector<float> out(96, NAN);
    const float sum = kernels_->exp_row(x.data(), begin, end, 96, Compute::kF32, out.data());
    const float largest = *std::max_element(&x[begin], &x[end]);
    double expected = 0;
    for (int64_t i = 0; i < 96; ++i) {
      if (i < begin || i >= end) {
        ASSERT_EQ(out[i], 0);
      } else {
        ASSERT_NEAR(out[i], std::exp(static_cast<double>(x[i]) - largest), 1e-6);
      }
      expected += out[i];
    }
    EXPECT_NEAR(sum, expected, 1e-5);
    EXPECT_GE(sum, 1);
  }
}

// Relative errors: near zero, too, tanh is as exact as float32 can say.
TEST_P(EachTable, TanhsAsInDouble) {
  for (float wide : {1e-3f, 0.5f, 2.0f, 60.0f}) {
    const int64_t n = 77;
    const auto x = Random(n, wide), up = Random(n, 1);
    for (float cap : {0.5f, 30.0f}) {
      auto capped = x;
      kernels_->soft_cap(capped.data(), n, cap);
      for (int64_t i = 0; i < n; ++i) {
        const double expected = cap * std::tanh(static_cast<double>(x[i]) / cap);
        ASSERT_NEAR(capped[i], expected, 3e-7 * std::abs(expected)) << x[i] << " " << cap;
      }
    }
    std::vector<float> out(n);
    kernels_->geglu(x.data(), up.data(), n, Compute::kF32, out.data());
    for (int64_t i = 0; i < n; ++i) {
      const double g = x[i], expected = 0.5 * g * (1 + std::tanh(std::sqrt(2 / M_PI) * (g + 0.044715 * g * g * g)));
      ASSERT_NEAR(out[i], expected * up[i], 3e-7 * (std::abs(g * up[i]) + 1e-3)) << g;
    }
  }
}

TEST_P(EachTable, RotationAndTransposition) {
  for (int64_t half : {1, 13, 16, 32}) {
    auto x = Random(2 * half, 1);
    const auto before = x, angle = Random(half, 2);
    std::vector<float> cosine(half), sine(half);
    for (int64_t i = 0; i < half; ++i) cosine[i] = std::cos(angle[i]), sine[i] = std::sin(angle[i]);
    kernels_->rotate(x.data(), cosine.data(), sine.data(), half);
    for (int64_t i = 0; i < half; ++i) {
      EXPECT_NEAR(x[i], before[i] * cosine[i] - before[half + i] * sine[i], 1e-6);
      EXPECT_NEAR(x[half + i], before[half + i] * cosine[i] + before[i] * sine[i], 1e-6);
    }
  }
  std::vector<uint32_t> rows(41 * 37), out(37 * 48, 9);  // Tiles, and what is left of both sides.
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = i;
  kernels_->transpose_units(rows.data(), 41, 37, 48, out.data());
  for (int64_t u = 0; u < 37; ++u) {
    for (int64_t c = 0; c < 48; ++c) ASSERT_EQ(out[u * 48 + c], c < 41 ? c * 37 + u : 9);
  }
}

// Rows, sequences and depths beside what the tiles take, weights at an odd address.
TEST_P(EachTable, ProductsWithStoredRows) {
  const int64_t rows = 7, m = 6;
  std::uniform_int_distribution<int> whole(-20, 20);  // Sums of products stay exact, in every type.
  for (const int64_t k : {1, 31, 32, 33, 98}) {
    for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
      for (const Stored stored : {Stored::kF32, Stored::kBF16, Stored::kF16}) {
        for (const bool exact : {true, false}) {
          auto x = Random(m * k, 1), w = Random(rows * k, 1);
          for (auto* v : {&x, &w}) {
            for (float& f : *v) f = exact ? static_cast<float>(whole(random_)) / 4 : f;
          }
          std::vector<char> bytes(1 + w.size() * BytesOf(stored)), rounded(x.size() * BytesOf(compute));
          for (size_t i = 0; i < w.size(); ++i) {
            const uint16_t half = stored == Stored::kF16 ? FloatToHalf(w[i]) : FloatToBFloat16(w[i]);
            const void* const from = stored == Stored::kF32 ? static_cast<const void*>(&w[i]) : &half;
            std::memcpy(&bytes[1 + i * BytesOf(stored)], from, BytesOf(stored));
          }
          kernels_->convert(x.data(), 1.0f, m * k, compute, rounded.data());
          const auto product = [&](int64_t first_row, int64_t row_count, int64_t first, int64_t count) {
            std::vector<float> arranged(2 * count * ((k + 31) / 32 * 32)), y(count * row_count);
            kernels_->arrange(compute, &rounded[first * k * BytesOf(compute)], count, k, arranged.data());
            kernels_->dot(stored, compute, &bytes[1 + first_row * k * BytesOf(stored)], row_count, k, arranged.data(),
                          count, y.data(), row_count);
            return y;
          };
          const auto all = product(0, rows, 0, m);
          for (int64_t i = 0; i < m; ++i) {
            for (int64_t r = 0; r < rows; ++r) {
              ASSERT_EQ(all[i * rows + r], product(r, 1, i, 1)[0]) << k << ": an element depends on its neighbours";
              float sum = 0;
              for (int64_t l = 0; l < k; ++l) sum += x[i * k + l] * w[r * k + l];
              if (exact) {
                ASSERT_EQ(all[i * rows + r], sum) << k << " " << i << " " << r;
              }
            }
          }
        }
      }
    }
  }
}

TEST_P(EachTable, WidensEveryHalf) {
  std::vector<uint16_t> half(1 << 16);
  for (size_t i = 0; i < half.size(); ++i) half[i] = i;
  std::vector<float> out(half.size());
  const auto bits = [](float value) { return std::bit_cast<uint32_t>(value); };
  // Twice, the second time as a tail.
  for (const size_t count : {half.size(), half.size() - 3}) {
    kernels_->widen(Stored::kF16, half.data(), count, out.data());
    for (size_t i = 0; i < count; ++i) {
      if (std::isnan(HalfToFloat(half[i]))) {
        ASSERT_TRUE(std::isnan(out[i])) << i;
      } else {
        ASSERT_EQ(bits(out[i]), bits(HalfToFloat(half[i]))) << i;
      }
    }
    kernels_->widen(Stored::kBF16, half.data(), count, out.data());
    for (size_t i = 0; i < count; ++i) ASSERT_EQ(bits(out[i]), i << 16) << i;
  }
}

}  // namespace
}  // namespace editd::nn
