#include "plugins/evaluate/windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace editd::evaluate {
namespace {

TEST(CutWindows, EveryTokenIsScoredOnceWithItsContext) {
  for (uint64_t tokens : {0, 1, 7, 8, 9, 20, 64}) {
    for (uint64_t stride : {1, 3, 4, 8}) {
      uint64_t next = 0;
      for (const Range& w : CutWindows(tokens + 1, {.context = 8, .stride = stride})) {
        EXPECT_EQ(w.scored_from, next);
        EXPECT_LE(w.length(), 8u);
        EXPECT_LE(w.begin, w.scored_from);
        if (w.begin > 0) {
          EXPECT_GE(w.scored_from + 1 - w.begin, 8 - stride + 1);
        }
        next = w.end;
      }
      EXPECT_EQ(next, tokens);
    }
  }
}

std::vector<std::vector<uint64_t>> Cut(uint64_t size, Convention convention, uint64_t context, uint64_t stride) {
  std::vector<std::vector<uint64_t>> out;
  for (const Range& w : CutWindows(size, {.convention = convention, .context = context, .stride = stride})) {
    out.push_back({w.begin, w.scored_from, w.end, w.weight});
  }
  return out;
}

TEST(CutWindows, AsTheProgramsDo) {
  using Windows = std::vector<std::vector<uint64_t>>;
  EXPECT_EQ(Cut(27, Convention::kLlamaCpp, 8, 8), (Windows{{0, 4, 7, 0}, {8, 12, 15, 0}, {16, 20, 23, 0}}));
  EXPECT_EQ(Cut(20, Convention::kLmEval, 8, 8), (Windows{{0, 0, 8, 0}, {8, 8, 16, 0}, {11, 16, 19, 0}}));
  EXPECT_EQ(Cut(15, Convention::kHfStrided, 8, 4), (Windows{{0, 0, 7, 7}, {4, 7, 11, 3}, {8, 11, 14, 2}}));
  EXPECT_EQ(Cut(16, Convention::kHfStrided, 8, 8), (Windows{{0, 0, 7, 7}, {8, 8, 15, 7}}));
}

// Random segmentations of a text: windows lie at the same bytes, and every byte is scored once.
TEST(CutCommonWindows, BothModelsReadTheSameBytes) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const uint64_t bytes = 1 + random() % 200, context = 2 + random() % 20, stride = 1 + random() % context;
    std::vector<uint64_t> end[2];
    for (auto& ends : end) {
      const uint64_t longest = 1 + random() % 6;
      ends.push_back(0);
      while (ends.back() < bytes) ends.push_back(std::min<uint64_t>(bytes, ends.back() + random() % longest + 1));
      if (random() % 3 == 0) ends.insert(ends.begin() + ends.size() / 2, ends[ends.size() / 2]);  // Without text.
    }
    uint64_t scored[2] = {};
    for (const Window& w : CutCommonWindows(5, end[0], end[1], {.context = context, .stride = stride})) {
      EXPECT_EQ(w.text, 5u);
      for (int side = 0; side < 2; ++side) {
        const Range& range = w.of[side];
        if (range.scored() == 0) continue;
        EXPECT_EQ(range.scored_from, scored[side]);
        EXPECT_LE(range.length(), context);
        EXPECT_LE(range.begin, range.scored_from);
        scored[side] = range.end;
      }
      if (!w.paired) continue;
      const auto start = [&](int side) { return w.of[side].begin == 0 ? 0 : end[side][w.of[side].begin - 1]; };
      EXPECT_EQ(start(0), start(1));
      EXPECT_EQ(end[0][w.of[0].scored_from], end[1][w.of[1].scored_from]);
      EXPECT_EQ(end[0][w.of[0].end], end[1][w.of[1].end]);
    }
    EXPECT_EQ(scored[0], end[0].size() - 1);
    EXPECT_EQ(scored[1], end[1].size() - 1);
  }
}

TEST(CutCommonWindows, OfOneSegmentationAreTheWindowsOfOneModel) {
  std::vector<uint64_t> end;
  for (uint64_t k = 0; k < 100; ++k) end.push_back(3 * k);
  for (uint64_t stride : {1, 4, 7, 16}) {
    const Settings settings = {.context = 16, .stride = stride};
    const auto alone = CutWindows(end.size(), settings);
    const auto common = CutCommonWindows(0, end, end, settings);
    ASSERT_EQ(alone.size(), common.size());
    for (size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(common[i].of[1].begin, alone[i].begin);
      EXPECT_EQ(common[i].of[0].scored_from, alone[i].scored_from);
      EXPECT_EQ(common[i].of[0].end, alone[i].end);
    }
  }
}

}  // namespace
}  // namespace editd::evaluate
