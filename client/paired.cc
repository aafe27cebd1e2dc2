#include "client/paired.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace editd::client {
namespace {

// The regularised incomplete beta function by its continued fraction (Lentz's method; Numerical Recipes, 6.4).
double BetaFraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  d = 1 / (std::abs(d) < kTiny ? kTiny : d);
  double h = d;
  for (int m = 1; m <= 500; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double step = 1;
    for (const double term : {even, odd}) {
      d = 1 + term * d;
      c = 1 + term / c;
      d = 1 / (std::abs(d) < kTiny ? kTiny : d);
      c = std::abs(c) < kTiny ? kTiny : c;
      step = d * c;
      h *= step;
    }
    if (std::abs(step - 1) < 1e-15) break;
  }
  return h;
}

double IncompleteBeta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  return x < (a + 1) / (a + b + 2) ? front * BetaFraction(a, b, x) / a : 1 - front * BetaFraction(b, a, 1 - x) / b;
}

}  // namespace

double StudentP(double t, double degrees) {
  if (std::isinf(t)) return 0;
  return IncompleteBeta(degrees / 2, 0.5, degrees / (degrees + t * t));
}

double StudentT(double p, double degrees) {
  double low = 0, high = 1;
  while (StudentP(high, degrees) > p && high < 1e9) high *= 2;
  for (int i = 0; i < 200 && high - low > 1e-12 * high; ++i) {
    const double middle = (low + high) / 2;
    (StudentP(middle, degrees) > p ? low : high) = middle;
  }
  return (low + high) / 2;
}

PairedDifference ComparePaired(const std::vector<DocumentPair>& documents, double unit) {
  PairedDifference out;
  double sum[2] = {}, of[2] = {};
  for (const DocumentPair& document : documents) {
    for (int side = 0; side < 2; ++side) {
      sum[side] += document.sum[side];
      of[side] += document.of[side];
    }
  }
  if (of[0] == 0 || of[1] == 0) return out;
  for (int side = 0; side < 2; ++side) out.value[side] = sum[side] / of[side] / unit;
  out.difference = out.value[1] - out.value[0];
  const auto n = static_cast<double>(documents.size());
  if (n < 2) return out;
  double squares = 0;
  for (const DocumentPair& document : documents) {
    double residual = 0;
    for (int side = 0; side < 2; ++side) {
      const double own = (document.sum[side] - sum[side] / of[side] * document.of[side]) / of[side];
      residual += side == 1 ? own : -own;
    }
    squares += residual * residual;
  }
  out.error = std::sqrt(n / (n - 1) * squares) / unit;
  const double half = StudentT(0.05, n - 1) * out.error;
  out.low = out.difference - half;
  out.high = out.difference + half;
  if (out.error > 0) {
    out.p = StudentP(out.difference / out.error, n - 1);
  } else {
    out.p = out.difference == 0 ? 1 : 0;
  }
  return out;
}

PairedDifference CompareMeans(const std::vector<ValuePair>& pairs) {
  std::vector<DocumentPair> documents;
  for (const ValuePair& pair : pairs) documents.push_back({{pair.value[0], pair.value[1]}, {1, 1}});
  return ComparePaired(documents);
}

}  // namespace editd::client
