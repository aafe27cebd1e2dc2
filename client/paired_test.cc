#include "client/paired.h"

#include <gtest/gtest.h>

#include <cmath>

namespace editd::client {
namespace {

// Values of scipy.stats.t: 2 * sf(t, df) and ppf(1 - p / 2, df).
TEST(Student, AsScipyHasIt) {
  EXPECT_NEAR(StudentP(2, 5), 0.10193947, 1e-8);
  EXPECT_NEAR(StudentP(-2, 5), 0.10193947, 1e-8);
  EXPECT_NEAR(StudentP(1, 1), 0.5, 1e-12);
  EXPECT_NEAR(StudentP(0, 9), 1, 1e-12);
  EXPECT_NEAR(StudentP(10, 30) / 4.575251408e-11, 1, 1e-8);
  EXPECT_NEAR(StudentT(0.05, 10), 2.22813885, 1e-7);
  EXPECT_NEAR(StudentT(0.05, 1), 12.70620474, 1e-6);
  EXPECT_NEAR(StudentT(0.05, 100000), 1.95998771, 1e-5);
}

// With documents of one length the error is that of a mean of differences: sd / sqrt(n).
TEST(ComparePaired, OfEqualLengthsIsTheTTestOfDifferences) {
  std::vector<DocumentPair> documents;
  const double differences[] = {0.3, -0.1, 0.25, 0.4, 0.05};
  double mean = 0, squares = 0;
  for (int i = 0; i < 5; ++i) {
    const double hard = 20 + 7 * i;  // What both share cancels.
    documents.push_back({{hard, hard + differences[i]}, {10, 10}});
    mean += differences[i] / 5;
  }
  for (double d : differences) squares += (d - mean) * (d - mean);
  const PairedDifference paired = ComparePaired(documents);
  const double scale = 10 * std::log(2.0), error = std::sqrt(squares / 4 / 5);
  EXPECT_NEAR(paired.difference, mean / scale, 1e-12);
  EXPECT_NEAR(paired.error, error / scale, 1e-12);
  EXPECT_NEAR(paired.p, StudentP(mean / error, 4), 1e-12);
  EXPECT_NEAR(paired.high - paired.low, 2 * 2.77644511 * error / scale, 1e-7);
}

TEST(CompareMeans, IsTheTTestOfDifferences) {
  // Nine questions: three that only the second gets right, one that only the first does.
  const double first[] = {1, 0, 0, 0, 1, 1, 0, 1, 0}, second[] = {1, 1, 1, 1, 0, 1, 0, 1, 0};
  std::vector<ValuePair> pairs;
  double squares = 0;
  for (int i = 0; i < 9; ++i) {
    pairs.push_back({{first[i], second[i]}});
    squares += std::pow(second[i] - first[i] - 2.0 / 9, 2);
  }
  const PairedDifference paired = CompareMeans(pairs);
  EXPECT_NEAR(paired.value[0], 4.0 / 9, 1e-15);
  EXPECT_NEAR(paired.difference, 2.0 / 9, 1e-15);
  EXPECT_NEAR(paired.error, std::sqrt(squares / 8 / 9), 1e-12);
  EXPECT_NEAR(paired.p, StudentP(paired.difference / paired.error, 8), 1e-12);
}

TEST(ComparePaired, WithoutPairsOrDifferenceThereIsNothingToDoubt) {
  const PairedDifference one = ComparePaired({{{5, 6}, {10, 10}}});
  EXPECT_GT(one.difference, 0);
  EXPECT_EQ(one.error, 0);
  EXPECT_EQ(one.p, 1);
  const PairedDifference same = ComparePaired({{{5, 5}, {10, 10}}, {{7, 7}, {20, 20}}});
  EXPECT_EQ(same.difference, 0);
  EXPECT_EQ(same.p, 1);
  EXPECT_EQ(ComparePaired({}).difference, 0);
}

}  // namespace
}  // namespace editd::client
