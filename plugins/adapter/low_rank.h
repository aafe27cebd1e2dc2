// A matrix cut to a rank: M is about B A, B of rows x rank, A of rank x columns.
//
// For a matrix that is filled by rows: the randomised SVD of Halko, Martinsson and Tropp (2011). M times random signs
// spans nearly what M's largest singular vectors span; two rounds of M^T M sharpen it, with a QR after each product;
// then the SVD of a small matrix does the rest. At least eight directions more than the rank are kept until the end.
// For a product of thin factors: QR of each and the SVD of the product of their R, which is the best of that rank.
// QR and SVD are Eigen's, in double. The error is not estimated but measured afterwards, on the rounded factors.
//
// The same bits for any number of threads.
#ifndef EDITD_PLUGINS_ADAPTER_LOW_RANK_H_
#define EDITD_PLUGINS_ADAPTER_LOW_RANK_H_

#include <string_view>
#include <vector>

#include "plugins/adapter/tiles.h"

namespace editd::adapter {

struct Factors {
  uint64_t rows = 0, columns = 0, rank = 0;
  std::vector<float> b, a;  // rows x rank, rank x columns; row-major.
};

// The rank to cut to: at most `most`; with `energy` above 0 the smallest whose share of the squared norm is that.
struct RankRule {
  uint64_t most = 16;
  double energy = 0;
};

// `name` is the tensor's, for random numbers.
absl::StatusOr<Factors> CutToRank(Job& job, const Matrix& matrix, const RankRule& rule, std::string_view name);

// B A cut to a rank.
Factors CutFactors(const Factors& factors, const RankRule& rule);

// How far apart matrix and factors are: sums of squares over all elements.
struct Distance {
  double squared = 0, squared_error = 0;
  float largest = 0;  // |error| of one element.

  double relative() const;  // 0 for 0 / 0.
};
absl::StatusOr<Distance> Measure(Job& job, const Matrix& matrix, const Factors& factors);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_LOW_RANK_H_
