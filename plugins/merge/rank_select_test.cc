// The k largest against a stable sort, over numbers with and without ties.
#include "plugins/merge/rank_select.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <mutex>
#include <numeric>
#include <random>
#include <thread>

#include "storage/base/testing.h"

namespace editd::merge {
namespace {

constexpr int64_t kBlock = 64;

// Runs all passes over `x`, and places its ties, tiles of two blocks.
void RunPasses(RankSelect* select, const std::vector<float>& x, int* passes = nullptr) {
  while (select->Advance()) {
    std::vector<uint32_t> words(select->words());
    for (size_t i = 0; i < x.size(); i += kBlock) {
      const size_t wanted = select->Wanted(static_cast<int64_t>(i), std::min<size_t>(kBlock, x.size() - i));
      if (wanted > 0) select->Count(&x[i], static_cast<int64_t>(i), wanted, words.data());
    }
    select->Add(words.data());
    if (passes != nullptr) ++*passes;
  }
  const int64_t n = static_cast<int64_t>(x.size());
  for (int64_t i = 0; i < n; i += 2 * kBlock) {
    select->Ties(i, std::min(n, i + 2 * kBlock), [&](int64_t at, size_t) { return &x[static_cast<size_t>(at)]; });
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
        for (const int64_t sampled : {int64_t{1}, int64_t{1} << 30}) {
          RankSelect select({static_cast<int64_t>(count)}, static_cast<int64_t>(n), kBlock, {.sampled = sampled});
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
}

TEST(RankSelect, KeepsWhatLiesBetweenTwoRanks) {
  for (const int distinct : {0, 2, 50}) {
    const size_t n = 3000;
    const std::vector<float> x = Numbers(n, 9, distinct);
    for (const auto& [top, end] : std::vector<std::pair<size_t, size_t>>{{0, 100}, {10, 1500}, {1499, 1500}, {30, n}}) {
      for (const int64_t sampled : {int64_t{1}, int64_t{1} << 30}) {
        RankSelect select({static_cast<int64_t>(end), static_cast<int64_t>(top)}, n, kBlock, {.sampled = sampled});
        RunPasses(&select, x);
        std::vector<float> kept = x;
        for (size_t i = 0; i < n; i += kBlock) {
          select.KeepWithout(0, 1, &kept[i], static_cast<int64_t>(i), std::min<size_t>(kBlock, n - i));
        }
        ASSERT_EQ(kept, Only(x, top, end)) << distinct << " sizes, " << top << " to " << end;
      }
    }
  }
}

TEST(RankSelect, FindsTheKthLargestInTwoPasses) {
  const std::vector<float> x = Numbers(2001, 5, 40);
  RankSelect select({1, 1000, 2001}, 2001, kBlock, {.exact_ties = false});
  int passes = 0;
  RunPasses(&select, x, &passes);
  EXPECT_EQ(passes, 2);
  const std::vector<size_t> order = Order(x);
  for (const auto& [cut, rank] : std::vector<std::pair<size_t, size_t>>{{0, 0}, {1, 999}, {2, 2000}}) {
    EXPECT_EQ(std::bit_cast<float>(select.Key(cut)), std::fabs(x[order[rank]])) << rank;
  }
}

// What the passes find does not depend on the guess; how many there are does.
TEST(RankSelect, AGoodGuessSavesAPassAndABadOneCostsTwo) {
  constexpr size_t kNumbers = 200000;
  std::vector<float> x = Numbers(kNumbers, 11, 0);
  const auto passes = [&](size_t count) {
    RankSelect select({static_cast<int64_t>(count)}, kNumbers, kBlock, {.sampled = 1});
    int n = 0;
    RunPasses(&select, x, &n);
    std::vector<float> kept = x;
    for (size_t i = 0; i < kNumbers; i += kBlock) select.Keep(0, &kept[i], static_cast<int64_t>(i), kBlock);
    EXPECT_EQ(kept, Only(x, 0, count));
    return n;
  };
  EXPECT_EQ(passes(kNumbers / 2), 2);
  EXPECT_EQ(passes(kNumbers / 5), 2);
  for (size_t i = 0; i < kNumbers / 3; ++i) x[3 * i] = 0;  // The key is zero, which no pass has to count.
  EXPECT_EQ(passes(kNumbers * 9 / 10), 2);
  for (size_t i = 0; i < kNumbers; ++i) {
    if (i / kBlock % 8 == 0) x[i] *= 100;  // The sample is of these.
  }
  EXPECT_EQ(passes(kNumbers / 2), 4);
}

// Threads that count and place ties at the same time.
TEST(RankSelect, IsTheSameFromManyThreads) {
  constexpr size_t kNumbers = 100000, kThreads = 4, kTile = 10 * kBlock;
  const std::vector<float> x = Numbers(kNumbers, 12, 5);
  RankSelect select({kNumbers / 2}, kNumbers, kBlock, {.sampled = 1});
  while (select.Advance()) {
    std::vector<std::jthread> threads;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::vector<uint32_t> words(select.words());
        for (size_t i = t * kBlock; i < kNumbers; i += kThreads * kBlock) {
          const size_t wanted = select.Wanted(static_cast<int64_t>(i), std::min<size_t>(kBlock, kNumbers - i));
          if (wanted > 0) select.Count(&x[i], static_cast<int64_t>(i), wanted, words.data());
        }
        select.Add(words.data());
      });
    }
  }
  std::vector<float> kept = x;
  {
    std::vector<std::jthread> threads;
    std::mutex mutex;
    size_t next = 0;
    for (size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (;;) {
          size_t begin;
          {
            std::lock_guard lock(mutex);
            begin = std::exchange(next, next + kTile);
          }
          if (begin >= kNumbers) return;
          const size_t end = std::min(kNumbers, begin + kTile);
          select.Ties(static_cast<int64_t>(begin), static_cast<int64_t>(end),
                      [&](int64_t at, size_t) { return &x[static_cast<size_t>(at)]; });
          for (size_t i = begin; i < end; i += kBlock) {
            select.Keep(0, &kept[i], static_cast<int64_t>(i), std::min<size_t>(kBlock, end - i));
          }
        }
      });
    }
  }
  EXPECT_EQ(kept, Only(x, 0, kNumbers / 2));
}

TEST(RankSelect, NeedsNoPassToKeepAllOrNothing) {
  RankSelect select({0, 100}, 100, kBlock);
  EXPECT_FALSE(select.Advance());
}

}  // namespace
}  // namespace editd::merge
