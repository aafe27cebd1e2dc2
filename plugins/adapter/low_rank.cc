#include "plugins/adapter/low_rank.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <cstring>

#include "plugins/adapter/matmul.h"
#include "plugins/lib/kernels/random.h"
#include "storage/base/status.h"

namespace editd::adapter {
namespace {

using Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

constexpr uint64_t kOversampling = 8;
constexpr uint64_t kStep = 32;  // Products run fastest with so many columns.
constexpr int kRounds = 2;
constexpr uint32_t kStream = 0xffff;  // Of random signs; adapters have the smaller ones.

float* Floats(Tile* tile, uint64_t count) {
  tile->bytes.assign(count * sizeof(float), 0);
  return reinterpret_cast<float*>(tile->bytes.data());
}

class Sketch {
 public:
  Sketch(Job& job, const Matrix& matrix) : job_(job), m_(matrix) {}

  // M times `right` (columns x width).
  absl::StatusOr<std::vector<float>> Times(const std::vector<float>& right, uint64_t width) {
    std::vector<float> out(m_.rows * width);
    RETURN_IF_ERROR(ForEachTile(
        job_, m_.rows, m_.columns,
        [&](Tile* tile) {
          Fill(tile);
          MultiplyAdd({tile->values.data(), static_cast<ptrdiff_t>(m_.columns), 1}, right.data(),
                      static_cast<ptrdiff_t>(width), tile->count, m_.columns, width, Floats(tile, tile->count * width),
                      static_cast<ptrdiff_t>(width));
        },
        [&](Tile& tile) {
          std::memcpy(out.data() + tile.first * width, tile.bytes.data(), tile.bytes.size());
          return absl::OkStatus();
        }));
    return out;
  }

  // M^T times `left` (rows x width).
  absl::StatusOr<std::vector<float>> TransposedTimes(const std::vector<float>& left, uint64_t width) {
    std::vector<float> out(m_.columns * width);
    RETURN_IF_ERROR(ForEachTile(
        job_, m_.rows, m_.columns,
        [&](Tile* tile) {
          Fill(tile);
          MultiplyAdd({tile->values.data(), 1, static_cast<ptrdiff_t>(m_.columns)}, left.data() + tile->first * width,
                      static_cast<ptrdiff_t>(width), m_.columns, tile->count, width, Floats(tile, m_.columns * width),
                      static_cast<ptrdiff_t>(width));
        },
        [&](Tile& tile) {
          const auto* own = reinterpret_cast<const float*>(tile.bytes.data());
          for (size_t i = 0; i < out.size(); ++i) out[i] += own[i];
          return absl::OkStatus();
        }));
    return out;
  }

 private:
  void Fill(Tile* tile) {
    tile->values.resize(tile->count * m_.columns);
    m_.fill(tile->first, tile->count, tile->values.data());
  }

  Job& job_;
  const Matrix& m_;
};

MatrixXd ToEigen(const std::vector<float>& x, uint64_t rows, uint64_t columns) {
  return Eigen::Map<const RowMajor>(x.data(), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns))
      .cast<double>();
}

std::vector<float> FromEigen(const MatrixXd& x) {
  std::vector<float> out(static_cast<size_t>(x.size()));
  Eigen::Map<RowMajor>(out.data(), x.rows(), x.cols()) = x.cast<float>();
  return out;
}

// Q (rows x the smaller dimension) and R of a thin matrix.
struct Thin {
  MatrixXd q, r;
};
Thin ThinQr(const MatrixXd& x) {
  const Eigen::Index k = std::min(x.rows(), x.cols());
  const Eigen::HouseholderQR<MatrixXd> qr(x);
  Thin out;
  out.q = qr.householderQ() * MatrixXd::Identity(x.rows(), k);
  out.r = qr.matrixQR().topRows(k).triangularView<Eigen::Upper>();
  return out;
}

uint64_t ChooseRank(const Eigen::VectorXd& values, double squared, const RankRule& rule) {
  const uint64_t most = std::min<uint64_t>(rule.most, static_cast<uint64_t>(values.size()));
  if (rule.energy <= 0) return most;
  double kept = 0;
  for (uint64_t rank = 0; rank < most; ++rank) {
    if (rank > 0 && kept >= rule.energy * squared) return rank;
    const double value = values[static_cast<Eigen::Index>(rank)];
    kept += value * value;
  }
  return most;
}

// left core right^T, with orthonormal left and right: the core's SVD, cut.
Factors Cut(const MatrixXd& left, const MatrixXd& core, const MatrixXd& right, double squared, const RankRule& rule) {
  const Eigen::JacobiSVD<MatrixXd> svd(core, Eigen::ComputeThinU | Eigen::ComputeThinV);
  Factors out;
  out.rows = static_cast<uint64_t>(left.rows());
  out.columns = static_cast<uint64_t>(right.rows());
  out.rank = ChooseRank(svd.singularValues(), squared < 0 ? svd.singularValues().squaredNorm() : squared, rule);
  const auto r = static_cast<Eigen::Index>(out.rank);
  out.b = FromEigen(left * svd.matrixU().leftCols(r) * svd.singularValues().head(r).asDiagonal());
  out.a = FromEigen((right * svd.matrixV().leftCols(r)).transpose());
  return out;
}

absl::StatusOr<double> SquaredNorm(Job& job, const Matrix& matrix) {
  double sum = 0;
  RETURN_IF_ERROR(ForEachTile(
      job, matrix.rows, matrix.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * matrix.columns);
        matrix.fill(tile->first, tile->count, tile->values.data());
        double own = 0;
        for (const float x : tile->values) own += static_cast<double>(x) * static_cast<double>(x);
        tile->bytes.resize(sizeof(own));
        std::memcpy(tile->bytes.data(), &own, sizeof(own));
      },
      [&](Tile& tile) {
        double own;
        std::memcpy(&own, tile.bytes.data(), sizeof(own));
        sum += own;
        return absl::OkStatus();
      }));
  return sum;
}

}  // namespace

absl::StatusOr<Factors> CutToRank(Job& job, const Matrix& matrix, const RankRule& rule, std::string_view name) {
  const uint64_t wanted = (rule.most + kOversampling + kStep - 1) / kStep * kStep;
  const uint64_t width = std::min({wanted, matrix.rows, matrix.columns});
  double squared = 0;
  if (rule.energy > 0) {
    ASSIGN_OR_RETURN(squared, SquaredNorm(job, matrix));
  }
  std::vector<float> signs(matrix.columns * width);
  const uint64_t hash = kernels::HashName(name);
  for (size_t i = 0; i < signs.size(); ++i) {
    signs[i] = kernels::RandomBits(job.seed(), hash, kStream, i) >> 31 != 0 ? 1.0f : -1.0f;
  }
  Sketch sketch(job, matrix);
  ASSIGN_OR_RETURN(std::vector<float> left, sketch.Times(signs, width));
  for (int round = 0;; ++round) {
    const MatrixXd q = ThinQr(ToEigen(left, matrix.rows, width)).q;
    ASSIGN_OR_RETURN(const std::vector<float> right, sketch.TransposedTimes(FromEigen(q), width));
    const Thin thin = ThinQr(ToEigen(right, matrix.columns, width));  // M^T Q = q r, so M is about Q r^T q^T.
    if (round == kRounds) return Cut(q, thin.r.transpose(), thin.q, squared, rule);
    ASSIGN_OR_RETURN(left, sketch.Times(FromEigen(thin.q), width));
  }
}

Factors CutFactors(const Factors& factors, const RankRule& rule) {
  const Thin b = ThinQr(ToEigen(factors.b, factors.rows, factors.rank));
  const Thin a = ThinQr(ToEigen(factors.a, factors.rank, factors.columns).transpose());
  return Cut(b.q, b.r * a.r.transpose(), a.q, -1, rule);
}

double Distance::relative() const { return squared_error == 0 ? 0 : std::sqrt(squared_error / squared); }

absl::StatusOr<Distance> Measure(Job& job, const Matrix& matrix, const Factors& factors) {
  Distance out;
  RETURN_IF_ERROR(ForEachTile(
      job, matrix.rows, matrix.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * matrix.columns);
        matrix.fill(tile->first, tile->count, tile->values.data());
        std::vector<float> product(tile->values.size());
        MultiplyAdd({factors.b.data() + tile->first * factors.rank, static_cast<ptrdiff_t>(factors.rank), 1},
                    factors.a.data(), static_cast<ptrdiff_t>(matrix.columns), tile->count, factors.rank, matrix.columns,
                    product.data(), static_cast<ptrdiff_t>(matrix.columns));
        Distance own;
        for (size_t i = 0; i < product.size(); ++i) {
          const float x = tile->values[i], error = x - product[i];
          own.squared += static_cast<double>(x) * static_cast<double>(x);
          own.squared_error += static_cast<double>(error) * static_cast<double>(error);
          own.largest = std::max(own.largest, std::fabs(error));
        }
        tile->bytes.resize(sizeof(own));
        std::memcpy(tile->bytes.data(), &own, sizeof(own));
      },
      [&](Tile& tile) {
        Distance own;
        std::memcpy(&own, tile.bytes.data(), sizeof(own));
        out.squared += own.squared;
        out.squared_error += own.squared_error;
        out.largest = std::max(out.largest, own.largest);
        return absl::OkStatus();
      }));
  return out;
}

}  // namespace editd::adapter
