// The k largest against a stable sort, over numbers with and without ties.
#include "plugins/merge/rank_select.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "storage/base/testing.h"

namespace editd::merge {
namespace {

constexpr int64_t kBlock = 64;

// Runs all passes over `x`.
void RunPasses(RankSelect* select, const std::vector<float>& x, int* passes = nullptr) {
  while (select->Advance()) {
    std::vector<uint32_t> words(select->words());
    for (size_t i = 0; i < x.size(); i += kBlock) {
      select->Count(&x[i], static_cast<int64_t>(i), std::min<size_t>(kBlock, x.size() - i), words.data());
    }
    select->Add(words.data());
    if (passes != nullptr) ++*passes;
  }
}

// Places in order: the largest first, equals by place.
std::vector<size_t> Order(const std::vector<float>& x) {
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::fabs(x[a]) > std::fabs(x[b]); });
  return order;
}

std::vector<float> Only(const std::vector<float>& x, size_t from, size_t to) {
  std::vector<float> out(x.size());
  const std::vector<size_t> order = Order(x);
  for (size_t i = from; i < to; ++i) out[order[i]] = x[order[i]];
  return out;
}

std::vector<float> Numbers(size_t n, uint32_t seed, int distinct) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n);
  for (float& v : x)
    v = distinct == 0 ? normal(random) : static_cast<float>(static_cast<int>(random() % (2 * distinct)) - distinct);
  return x;
}

TEST(RankSelect, KeepsTheLargestAndOfEqualsTheFirst) {
  for (const int distinct : {0, 1, 3, 1000}) {  // 0: no two are equal, or hardly any.
    for (const size_t n : {1u, 63u, 64u, 65u, 1000u, 5000u}) {
      const std::vector<float> x = Numbers(n, static_cast<uint32_t>(n) + static_cast<uint32_t>(distinct), distinct);
      for (const size_t count : {size_t{0}, size_t{1}, n / 3, n / 2, n - 1, n}) {
        RankSelect select({static_cast<int64_t>(count)}, static_cast<int64_t>(n), kBlock);
        RunPasses(&select, x);
        std::vector<float> kept = x;
        for (size_t i = 0; i < n; i += kBlock) {
          select.Keep(0, &kept[i], static_cast<int64_t>(i), std::min<size_t>(kBlock, n - i));
        }
        ASSERT_EQ(kept, Only(x, 0, count)) << n << " numbers, " << distinct << " sizes, " << count << " kept";
      }
    }
  }
}

TEST(RankSelect, KeepsWhatLiesBetweenTwoRanks) {
  for (const int distinct : {0, 2, 50}) {
    const size_t n = 3000;
    const std::vector<float> x = Numbers(n, 9, distinct);
    for (const auto& [top, end] : std::vector<std::pair<size_t, size_t>>{{0, 100}, {10, 1500}, {1499, 1500}, {30, n}}) {
      RankSelect select({static_cast<int64_t>(end), static_cast<int64_t>(top)}, n, kBlock);
      RunPasses(&select, x);
      std::vector<float> kept = x;
      for (size_t i = 0; i < n; i += kBlock) {
        select.KeepWithout(0, 1, &kept[i], static_cast<int64_t>(i), std::min<size_t>(kBlock, n - i));
      }
      ASSERT_EQ(kept, Only(x, top, end)) << distinct << " sizes, " << top << " to " << end;
    }
  }
}

TEST(RankSelect, FindsTheKthLargestInTwoPasses) {
  const std::vector<float> x = Numbers(2001, 5, 40);
  RankSelect select({1, 1000, 2001}, 2001, kBlock, false);
  int passes = 0;
  RunPasses(&select, x, &passes);
  EXPECT_EQ(passes, 2);
  const std::vector<size_t> order = Order(x);
  for (const auto& [cut, rank] : std::vector<std::pair<size_t, size_t>>{{0, 0}, {1, 999}, {2, 2000}}) {
    EXPECT_EQ(std::bit_cast<float>(select.Key(cut)), std::fabs(x[order[rank]])) << rank;
  }
}

TEST(RankSelect, NeedsNoPassToKeepAllOrNothing) {
  RankSelect select({0, 100}, 100, kBlock);
  EXPECT_FALSE(select.Advance());
}

}  // namespace
}  // namespace editd::merge
