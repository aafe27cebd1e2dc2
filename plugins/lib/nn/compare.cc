#include "plugins/lib/nn/compare.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "plugins/lib/nn/parallel.h"
#include "storage/base/status.h"

namespace editd::nn {
namespace {

constexpr int64_t kHeldBytes = 192 << 20;  // Of logits, both models'.
constexpr int64_t kSumColumns = 4096;

// f(first, count) for stretches of kSumColumns.
template <typename F>
void InParts(int64_t n, F&& f) {
  for (int64_t first = 0; first < n; first += kSumColumns) f(first, std::min(kSumColumns, n - first));
}

struct Scratch {
  Buffer logits[2], exps[2];  // By place.
  std::vector<std::pair<float, int64_t>> top[2];
};

// Soft-max of a side's places, common and own apart: the common part must be the same numbers on both sides if the
// logits are, whatever else the sides have.
struct Masses {
  float max_common, max_own;
  double sum_common = 0, sum_own = 0;
  double log_common() const { return max_common + std::log(sum_common); }
  double log_own() const { return max_own + std::log(sum_own); }
  // Of all probability.
  double common() const { return sum_own == 0 ? 1 : 1 / (1 + std::exp(log_own() - log_common())); }
  double own() const { return sum_own == 0 ? 0 : 1 / (1 + std::exp(log_common() - log_own())); }
};

Masses ExpOf(const CommonRows& rows, int side, Scratch* scratch) {
  const float* const x = scratch->logits[side].As<float>();
  float* const e = scratch->exps[side].As<float>();
  const int64_t common = rows.common(), own = rows.rows(side) - common;
  Masses out;
  out.max_common = Kernels().max_of(x, common);
  out.max_own = own == 0 ? 0 : Kernels().max_of(x + common, own);
  InParts(common, [&](int64_t first, int64_t count) {
    out.sum_common += Kernels().exp_below(x + first, out.max_common, count, e + first);
  });
  InParts(own, [&](int64_t first, int64_t count) {
    out.sum_own += Kernels().exp_below(x + common + first, out.max_own, count, e + common + first);
  });
  return out;
}

double SumOf(const float* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  float lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t l = 0; l < kLanes; ++l) lanes[l] += x[i + l];
  }
  double sum = 0;
  for (; i < n; ++i) sum += x[i];
  for (float lane : lanes) sum += lane;
  return sum;
}

void NextBytes(const CommonRows& rows, int side, const Masses& masses, const float* e, double* out) {
  std::fill(out, out + kByteClasses, 0.0);
  const double scale_common = masses.common() / masses.sum_common;
  const double scale_own = masses.sum_own == 0 ? 0 : masses.own() / masses.sum_own;
  for (const CommonRows::Stretch& stretch : rows.stretches(side)) {
    double sum = 0;
    InParts(stretch.end - stretch.first,
            [&](int64_t first, int64_t count) { sum += SumOf(e + stretch.first + first, count); });
    out[stretch.begins] += sum * (stretch.first < rows.common() ? scale_common : scale_own);
  }
}

double Divergence(const double* p, const double* q) {
  double sum = 0;
  for (int b = 0; b < kByteClasses; ++b) {
    if (p[b] <= 0) continue;
    if (q[b] <= 0) return std::numeric_limits<double>::infinity();
    const double x = std::log(q[b] / p[b]);
    sum += std::abs(x) < 1e-4 ? p[b] * x * x * (0.5 + x / 6) : q[b] - p[b] - p[b] * x;
  }
  // Bytes that only q has make up what the terms above count as missing.
  for (int b = 0; b < kByteClasses; ++b) sum += p[b] <= 0 ? q[b] : 0;
  return std::max(0.0, sum);
}

// The `k` largest of x[0 .. n), the first of equals.
void FindTop(const float* x, int64_t n, int k, std::vector<std::pair<float, int64_t>>* top) {
  constexpr int64_t kBlock = 128;
  top->clear();
  const auto larger = [](const auto& a, const auto& b) { return a.first > b.first; };
  for (int64_t first = 0; first < n; first += kBlock) {
    const int64_t count = std::min(kBlock, n - first);
    const bool full = static_cast<int>(top->size()) == k;
    if (full && Kernels().max_of(x + first, count) <= top->front().first) continue;
    for (int64_t i = first; i < first + count; ++i) {
      if (static_cast<int>(top->size()) < k) {
        top->emplace_back(x[i], i);
        std::push_heap(top->begin(), top->end(), larger);
      } else if (x[i] > top->front().first) {
        std::pop_heap(top->begin(), top->end(), larger);
        top->back() = {x[i], i};
        std::push_heap(top->begin(), top->end(), larger);
      }
    }
  }
}

int64_t FirstOf(const float* x, int64_t n, float value) { return std::find(x, x + n, value) - x; }

PairScore ScorePair(const Decoder* const decoders[2], const float* const logits[2], const PairPosition& position,
                    const CommonRows& rows, int top_k, Scratch* scratch) {
  PairScore out = {};
  Masses masses[2];
  double bytes[2][kByteClasses];
  for (int side = 0; side < 2; ++side) {
    out.score[side] = ScoreOfLogits(*decoders[side], logits[side], rows.rows(side), position.target[side]);
    const std::vector<int32_t>& order = rows.order(side);
    scratch->logits[side].Reserve(order.size() * sizeof(float));
    scratch->exps[side].Reserve(order.size() * sizeof(float));
    float* const x = scratch->logits[side].As<float>();
    for (size_t i = 0; i < order.size(); ++i) x[i] = logits[side][order[i]];
    masses[side] = ExpOf(rows, side, scratch);
    NextBytes(rows, side, masses[side], scratch->exps[side].As<float>(), bytes[side]);
  }
  out.next_byte_kl = Divergence(bytes[0], bytes[1]);
  out.next_byte_kl_reverse = Divergence(bytes[1], bytes[0]);
  if (!position.tokens) return out;
  const int64_t n = rows.common();
  const float* const a = scratch->logits[0].As<float>();
  const float* const b = scratch->logits[1].As<float>();
  double differences = 0;
  InParts(n,
          [&](int64_t first, int64_t count) { differences += Kernels().difference_sum(a + first, b + first, count); });
  const PairScales scales = {static_cast<float>(1 / masses[0].sum_common), static_cast<float>(1 / masses[1].sum_common),
                             static_cast<float>(masses[1].log_common() - masses[0].log_common()),
                             static_cast<float>(differences / static_cast<double>(n))};
  InParts(n, [&](int64_t first, int64_t count) {
    const PairSums part = Kernels().pair_sums(a + first, b + first, scratch->exps[0].As<float>() + first,
                                              scratch->exps[1].As<float>() + first, count, scales);
    out.kl += part.kl;
    out.kl_reverse += part.kl_reverse;
    out.js += part.js;
    out.squares += part.squares;
    out.squares_centred += part.squares_centred;
    out.max_abs = std::max(out.max_abs, part.max_abs);
    out.max_abs_centred = std::max(out.max_abs_centred, part.max_abs_centred);
  });
  for (int side = 0; side < 2; ++side) {
    out.common[side] = masses[side].common();
    out.others[side] = masses[side].own();
  }
  out.same_top_common = FirstOf(a, n, masses[0].max_common) == FirstOf(b, n, masses[1].max_common);
  const auto own_leads = [](const Masses& m) { return m.sum_own > 0 && m.max_own > m.max_common; };
  out.same_top = out.same_top_common && !own_leads(masses[0]) && !own_leads(masses[1]);
  if (top_k > 0) {
    FindTop(a, n, top_k, &scratch->top[0]);
    FindTop(b, n, top_k, &scratch->top[1]);
    for (const auto& [value, place] : scratch->top[0]) {
      out.shared_top += std::any_of(scratch->top[1].begin(), scratch->top[1].end(),
                                    [place = place](const auto& other) { return other.second == place; });
    }
  }
  return out;
}

}  // namespace

CommonRows::CommonRows(std::span<const int64_t> rows_a, std::span<const int64_t> rows_b, std::vector<uint16_t> begins_a,
                       std::vector<uint16_t> begins_b)
    : common_(static_cast<int64_t>(rows_a.size())) {
  const std::vector<uint16_t>* const begins[2] = {&begins_a, &begins_b};
  const std::span<const int64_t> common[2] = {rows_a, rows_b};
  std::vector<size_t> sorted(rows_a.size());
  for (size_t i = 0; i < sorted.size(); ++i) sorted[i] = i;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](size_t i, size_t j) { return begins_a[rows_a[i]] < begins_a[rows_a[j]]; });
  for (int side = 0; side < 2; ++side) {
    std::vector<int32_t>& order = order_[side];
    std::vector<bool> taken(begins[side]->size());
    for (size_t i : sorted) {
      order.push_back(static_cast<int32_t>(common[side][i]));
      taken[common[side][i]] = true;
    }
    for (size_t row = 0; row < taken.size(); ++row) {
      if (!taken[row]) order.push_back(static_cast<int32_t>(row));
    }
    std::stable_sort(order.begin() + common_, order.end(),
                     [&](int32_t i, int32_t j) { return (*begins[side])[i] < (*begins[side])[j]; });
    for (int64_t i = 0; i < static_cast<int64_t>(order.size()); ++i) {
      // A common row counts as what its token is on the first side, so that the stretches are the same.
      const uint16_t begin = i < common_ ? begins_a[order_[0][i]] : (*begins[side])[order[i]];
      std::vector<Stretch>& stretches = stretches_[side];
      if (stretches.empty() || stretches.back().begins != begin || i == common_) stretches.push_back({begin, i, i});
      stretches.back().end = i + 1;
    }
  }
}

absl::Status ComparePositions(const Decoder& a, const Decoder& b, std::span<const PairPosition> positions,
                              const CommonRows& rows, int top_k,
                              const std::function<void(size_t index, const PairScore& score)>& visit) {
  const Decoder* const decoders[2] = {&a, &b};
  int64_t stride[2], held_bytes = 0;
  for (int side = 0; side < 2; ++side) {
    stride[side] = rows.rows(side) / 16 * 16 + 16;
    held_bytes += stride[side] * static_cast<int64_t>(sizeof(float));
  }
  const size_t chunk = std::clamp<int64_t>(kHeldBytes / held_bytes / kBlockRows, 1, 8) * kBlockRows;
  // Kept from call to call: new memory, page by page, would cost as much as the comparison.
  static thread_local Buffer logits[2];
  std::vector<const void*> hidden;
  std::vector<PairScore> scores;
  for (size_t first = 0; first < positions.size(); first += chunk) {
    const size_t count = std::min(chunk, positions.size() - first);
    for (int side = 0; side < 2; ++side) {
      hidden.clear();
      for (size_t i = 0; i < count; ++i) hidden.push_back(positions[first + i].hidden[side]);
      logits[side].Reserve(count * stride[side] * sizeof(float));
      RETURN_IF_ERROR(LogitsInto(*decoders[side], hidden, rows.rows(side), logits[side].As<float>(), stride[side]));
    }
    scores.resize(count);
    constexpr size_t kPiece = 8;
    const float* const both[2] = {logits[0].As<float>(), logits[1].As<float>()};  // Threads have others of that name.
    ForEach(a.threads(), (count + kPiece - 1) / kPiece, [&](int64_t piece) {
      static thread_local Scratch scratch;
      for (size_t i = piece * kPiece; i < std::min(count, (piece + 1) * kPiece); ++i) {
        const float* const row[2] = {both[0] + i * stride[0], both[1] + i * stride[1]};
        scores[i] = ScorePair(decoders, row, positions[first + i], rows, top_k, &scratch);
      }
    });
    for (size_t i = 0; i < count; ++i) visit(first + i, scores[i]);
  }
  return absl::OkStatus();
}

}  // namespace editd::nn
