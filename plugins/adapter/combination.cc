// The threshold of "top" is exact and needs no sorting: magnitudes are ordered as their bits are, so a count by the
// upper bits tells in which bucket the k-th lies, a second by the lower bits which it is, and a third how many equal it
// in each row, so that the first of those can be kept. Each is a pass that computes the changes anew, by tiles.
#include "plugins/adapter/combination.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>

#include "plugins/lib/kernels/blocks.h"
#include "plugins/lib/kernels/random.h"
#include "storage/base/status.h"

namespace editd::adapter {
namespace {

using kernels::Blocks;

// What "top" keeps of one change.
struct Threshold {
  uint32_t key = 0;           // Of the smallest magnitude kept.
  uint64_t equal = 0;         // So many that are equal to it are kept.
  std::vector<uint64_t> row;  // How many equal ones stand before each row.
};

// One pass: count(change, values, n, counters) for each tile, counters summed for each change.
using Counts = std::vector<std::vector<uint64_t>>;
absl::StatusOr<Counts> Count(Job& job, const std::vector<Weighted>& changes, size_t counters,
                             const std::function<void(size_t, const float*, size_t, uint32_t*)>& count) {
  const Matrix& shape = changes[0].matrix;
  Counts sums(changes.size(), std::vector<uint64_t>(counters));
  RETURN_IF_ERROR(ForEachTile(
      job, shape.rows, shape.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * shape.columns);
        tile->bytes.assign(changes.size() * counters * sizeof(uint32_t), 0);
        for (size_t i = 0; i < changes.size(); ++i) {
          changes[i].matrix.fill(tile->first, tile->count, tile->values.data());
          count(i, tile->values.data(), tile->values.size(),
                reinterpret_cast<uint32_t*>(tile->bytes.data()) + i * counters);
        }
      },
      [&](Tile& tile) {
        const auto* own = reinterpret_cast<const uint32_t*>(tile.bytes.data());
        for (size_t i = 0; i < changes.size(); ++i) {
          for (size_t k = 0; k < counters; ++k) sums[i][k] += own[i * counters + k];
        }
        return absl::OkStatus();
      }));
  return sums;
}

// The bucket in which the k-th largest lies; `above` becomes how many lie in higher ones.
uint32_t Bucket(const std::vector<uint64_t>& counts, uint64_t k, uint64_t* above) {
  uint64_t seen = *above;
  size_t bucket = counts.size() - 1;
  for (; bucket > 0 && seen + counts[bucket] < k; --bucket) seen += counts[bucket];
  *above = seen;
  return static_cast<uint32_t>(bucket);
}

absl::StatusOr<std::vector<Threshold>> Thresholds(Job& job, const std::vector<Weighted>& changes, uint64_t k) {
  const Blocks& blocks = kernels::ForThisMachine();
  const Matrix& shape = changes[0].matrix;
  std::vector<Threshold> out(changes.size());
  std::vector<uint32_t> high(changes.size());
  std::vector<uint64_t> above(changes.size());
  ASSIGN_OR_RETURN(const Counts highs,
                   Count(job, changes, kernels::kHighCounts,
                         [&](size_t, const float* x, size_t n, uint32_t* counts) { blocks.count_high(x, n, counts); }));
  for (size_t i = 0; i < changes.size(); ++i) high[i] = Bucket(highs[i], k, &above[i]);
  ASSIGN_OR_RETURN(const Counts lows,
                   Count(job, changes, kernels::kLowCounts, [&](size_t i, const float* x, size_t n, uint32_t* counts) {
                     blocks.count_low(x, high[i], n, counts);
                   }));
  for (size_t i = 0; i < changes.size(); ++i) {
    out[i].key = high[i] << 16 | Bucket(lows[i], k, &above[i]);
    out[i].equal = k - above[i];
    out[i].row.resize(shape.rows + 1);
  }
  RETURN_IF_ERROR(ForEachTile(
      job, shape.rows, shape.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * shape.columns);
        for (size_t i = 0; i < changes.size(); ++i) {
          changes[i].matrix.fill(tile->first, tile->count, tile->values.data());
          for (uint64_t row = 0; row < tile->count; ++row) {
            out[i].row[tile->first + row + 1] =
                blocks.count_equal(tile->values.data() + row * shape.columns, out[i].key, shape.columns);
          }
        }
      },
      [](Tile&) { return absl::OkStatus(); }));
  for (Threshold& threshold : out) {
    for (size_t row = 1; row < threshold.row.size(); ++row) threshold.row[row] += threshold.row[row - 1];
  }
  return out;
}

// "top" on rows that lie in memory.
void KeepTop(const Threshold& threshold, uint64_t first, uint64_t count, uint64_t columns, float* x) {
  constexpr uint32_t kEnd = 0x80000000u;
  kernels::ForThisMachine().keep_between(x, threshold.key, kEnd, count * columns);
  for (uint64_t row = first; row < first + count; ++row) {
    const uint64_t before = threshold.row[row], equal = threshold.row[row + 1] - before;
    if (before + equal <= threshold.equal) continue;
    uint64_t left = threshold.equal > before ? threshold.equal - before : 0;
    for (float *p = x + (row - first) * columns, *end = p + columns; p < end; ++p) {
      if ((std::bit_cast<uint32_t>(*p) & kernels::kMagnitudeBits) != threshold.key) continue;
      if (left > 0) {
        --left;
      } else {
        *p = 0;
      }
    }
  }
}

// "drop" on rows that lie in memory.
void KeepRandom(uint64_t seed, uint64_t name, uint32_t stream, double density, uint64_t begin, uint64_t count,
                float* x) {
  const Blocks& blocks = kernels::ForThisMachine();
  const uint64_t start = begin / 64 * 64;
  std::vector<uint32_t> bits((begin - start + count + 63) / 64 * 64);
  blocks.random_bits(seed, name, stream, start, begin - start + count, bits.data());
  const auto limit = static_cast<uint32_t>(std::min(std::floor(density * 0x1p32), 0x1p32 - 1));
  blocks.keep_random(x, bits.data() + (begin - start), limit, count);
  blocks.divide(x, static_cast<float>(density), count);
}

}  // namespace

absl::StatusOr<Matrix> Combined(Job& job, const v1::Combination& how, std::vector<Weighted> changes,
                                std::string_view name) {
  const bool random =
      how.method() == v1::COMBINATION_METHOD_DARE_LINEAR || how.method() == v1::COMBINATION_METHOD_DARE_TIES;
  const bool elects = how.method() == v1::COMBINATION_METHOD_TIES || how.method() == v1::COMBINATION_METHOD_DARE_TIES;
  const bool sums = how.method() == v1::COMBINATION_METHOD_SUM || how.method() == v1::COMBINATION_METHOD_UNSPECIFIED;
  const bool frequency = how.sign() == v1::SIGN_ELECTION_FREQUENCY;
  const uint64_t rows = changes[0].matrix.rows, columns = changes[0].matrix.columns;
  const double density = sums ? 1 : how.density();
  const uint64_t seed = job.seed(), hash = kernels::HashName(name);
  auto thresholds = std::make_shared<std::vector<Threshold>>();
  const auto kept = static_cast<uint64_t>(density * static_cast<double>(rows * columns));
  if (!random && density < 1 && kept > 0) {
    ASSIGN_OR_RETURN(*thresholds, Thresholds(job, changes, kept));
  }
  auto shared = std::make_shared<const std::vector<Weighted>>(std::move(changes));
  Matrix out{rows, columns, nullptr};
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    const Blocks& blocks = kernels::ForThisMachine();
    const uint64_t n = count * columns;
    const auto fill = [&](size_t i, float* x) {
      (*shared)[i].matrix.fill(first, count, x);
      if (density >= 1) return;
      if (random) {
        KeepRandom(seed, hash, (*shared)[i].stream, density, first * columns, n, x);
      } else if (kept == 0) {
        std::fill(x, x + n, 0.0f);
      } else {
        KeepTop((*thresholds)[i], first, count, columns, x);
      }
    };
    if (!elects) {
      std::vector<float> x(n);
      std::fill(to, to + n, 0.0f);
      for (size_t i = 0; i < shared->size(); ++i) {
        fill(i, x.data());
        blocks.add_scaled(x.data(), static_cast<float>((*shared)[i].weight), n, to);
      }
      return;
    }
    std::vector<std::vector<float>> changed;
    std::vector<const float*> pointers;
    std::vector<float> weights;
    for (size_t i = 0; i < shared->size(); ++i) {
      fill(i, changed.emplace_back(n).data());
      pointers.push_back(changed.back().data());
      weights.push_back(static_cast<float>((*shared)[i].weight));
    }
    const std::vector<float> ones(shared->size(), 1.0f);
    blocks.elect(pointers.data(),
                 {frequency ? kernels::Election::By::kSigns : kernels::Election::By::kPlain, shared->size(),
                  weights.data(), ones.data()},
                 n, to);
  };
  return out;
}

}  // namespace editd::adapter
