#include "client/paired.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

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
  const PairedDifference paired = ComparePaired(documents, std::numbers::ln2);
  const double scale = 10 * std::log(2.0), error = std::sqrt(squares / 4 / 5);
  EXPECT_NEAR(paired.difference, mean / scale, 1e-12);
  EXPECT_NEAR(paired.error, error / scale, 1e-12);
  EXPECT_NEAR(paired.p, StudentP(mean / error, 4), 1e-12);
  EXPECT_NEAR(paired.high - paired.low, 2 * 2.77644511 * error / scale, 1e-7);
}

// Shares of documents of unlike lengths. By hand: 0.2 of 20 and 0.4 of 60 against 0.1 of 10 and nothing of 30.
TEST(ComparePaired, OfUnlikeLengthsEachDocumentGivesOneResidual) {
  const PairedDifference paired = ComparePaired({{{4, 1}, {20, 10}}, {{24, 0}, {60, 30}}});
  EXPECT_NEAR(paired.value[0], 28.0 / 80, 1e-15);
  EXPECT_NEAR(paired.value[1], 1.0 / 40, 1e-15);
  EXPECT_NEAR(paired.difference, -0.325, 1e-15);
  // Residuals: (1 - 0.25) / 40 - (4 - 7) / 80 = 0.05625, and the other is as large; sqrt(2 (2 0.05625^2)).
  EXPECT_NEAR(paired.error, 2 * 0.05625, 1e-15);
  EXPECT_NEAR(paired.p, StudentP(0.325 / 0.1125, 1), 1e-12);
  // One side is exactly 0 throughout: the error is the other's.
  const PairedDifference none = ComparePaired({{{4, 0}, {20, 10}}, {{24, 0}, {60, 30}}});
  EXPECT_EQ(none.value[1], 0);
  EXPECT_NEAR(none.error, 2 * 3.0 / 80, 1e-15);
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
