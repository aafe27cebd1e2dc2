#include "plugins/lib/nn/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace editd::nn {
namespace {

TEST(ForEach, EachPieceIsDoneOnce) {
  for (int threads : {1, 2, 5, 3, 1}) {
    for (int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> done(count);
      ForEach(threads, count, [&](int64_t i) { ++done[i]; });
      for (const auto& times : done) ASSERT_EQ(times, 1);
    }
  }
}

TEST(ForEach, CallersTakeTurns) {
  std::atomic<int64_t> sum = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round) ForEach(3, 20, [&](int64_t i) { sum += i; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 4 * 50 * 190);
}

}  // namespace
}  // namespace editd::nn
