#include "plugins/lib/nn/head.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "plugins/lib/nn/parallel.h"

namespace editd::nn {
namespace {

// Columns of a group: its packed rows fill about half of a second-level cache of 1 MiB.
int64_t GroupColumns(const Decoder& decoder) {
  const int64_t fit = 448 * 1024 / (decoder.config().hidden_size * BytesOf(decoder.compute()));
  return std::clamp<int64_t>(fit / kBlockColumns, 1, 16) * kBlockColumns;
}

// Hidden states one after the other, as products read them.
Buffer Gather(const Decoder& decoder, std::span<const void* const> positions) {
  const int64_t bytes = decoder.config().hidden_size * BytesOf(decoder.compute());
  Buffer out(std::max<int64_t>(1, positions.size() * bytes));
  for (size_t i = 0; i < positions.size(); ++i) std::memcpy(out.As<char>() + i * bytes, positions[i], bytes);
  return out;
}

// One group of columns, packed, and what it gives for a chunk of positions.
class Group {
 public:
  Group(const Decoder& decoder, std::span<const int64_t> rows) : decoder_(decoder), columns_(rows.size()) {
    units_ = decoder.config().hidden_size * BytesOf(decoder.compute()) / 4;
    const int64_t blocks = (columns_ + kBlockColumns - 1) / kBlockColumns;
    packed_.Reserve(blocks * kBlockColumns * units_ * 4);
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = b * kBlockColumns;
      PackedMatrix::PackBlock(decoder.compute(), decoder.head(),
                              rows.subspan(first, std::min(kBlockColumns, columns_ - first)), &scratch_,
                              packed_.As<uint32_t>() + first * units_);
    }
    logits_.Reserve(kBlockRows * stride() * sizeof(float));
  }

  // Logits of `count` gathered positions from `first` on; row i at row(i).
  void Multiply(const Buffer& gathered, int64_t first, int64_t count) {
    const int64_t hidden = decoder_.config().hidden_size;
    const char* const x = gathered.As<char>() + first * units_ * 4;
    for (int64_t c = 0; c < columns_; c += kBlockColumns) {
      decoder_.gemm()(count, std::min(kBlockColumns, columns_ - c), hidden, x, hidden,
                      packed_.As<uint32_t>() + c * units_, kBlockColumns, logits_.As<float>() + c, stride(), false);
    }
    const double cap = decoder_.config().logit_cap;
    for (int64_t i = 0; cap > 0 && i < count; ++i) {
      Kernels().soft_cap(logits_.As<float>() + i * stride(), columns_, static_cast<float>(cap));
    }
  }
  const float* row(int64_t i) const { return logits_.As<float>() + i * stride(); }

 private:
  int64_t stride() const { return columns_ / 32 * 32 + 48; }  // An odd number of cache lines.

  const Decoder& decoder_;
  int64_t columns_, units_;
  Buffer packed_, logits_, scratch_;
};

// f(group index, first column, rows of the group), on the decoder's threads.
template <typename F>
void ForEachGroup(const Decoder& decoder, int64_t columns, F&& f) {
  const int64_t width = GroupColumns(decoder);
  ForEach(decoder.threads(), (columns + width - 1) / width,
          [&](int64_t g) { f(g, g * width, std::min(width, columns - g * width)); });
}

int64_t GroupCount(const Decoder& decoder, int64_t columns) {
  const int64_t width = GroupColumns(decoder);
  return (columns + width - 1) / width;
}

// Adds the parts of a soft-max's denominator. Max first, so that no part overflows.
class LogSumExp {
 public:
  void Add(const ExpSum& part) {
    if (part.max > max_) {
      sum_ *= std::exp(max_ - part.max);
      max_ = part.max;
    }
    sum_ += part.sum * std::exp(part.max - max_);
  }
  double value() const { return max_ + std::log(sum_); }

 private:
  double max_ = -1e300, sum_ = 0;
};

}  // namespace

std::vector<Score> ScoreTargets(const Decoder& decoder, std::span<const Position> positions, int64_t rows) {
  const int64_t count = positions.size();
  std::vector<const void*> hidden(count);
  for (int64_t i = 0; i < count; ++i) hidden[i] = positions[i].hidden;
  const Buffer gathered = Gather(decoder, hidden);
  std::vector<int64_t> all(rows);
  std::iota(all.begin(), all.end(), 0);
  const int64_t groups = GroupCount(decoder, rows);
  std::vector<ExpSum> parts(groups * count);
  std::vector<float> target_logit(count);
  ForEachGroup(decoder, rows, [&](int64_t g, int64_t column, int64_t columns) {
    Group group(decoder, std::span(all).subspan(column, columns));
    for (int64_t first = 0; first < count; first += kBlockRows) {
      const int64_t height = std::min(kBlockRows, count - first);
      group.Multiply(gathered, first, height);
      for (int64_t i = 0; i < height; ++i) {
        parts[g * count + first + i] = Kernels().exp_sum(group.row(i), columns);
        const int64_t target = positions[first + i].target - column;
        if (target >= 0 && target < columns) target_logit[first + i] = group.row(i)[target];
      }
    }
  });
  std::vector<Score> out(count);
  for (int64_t i = 0; i < count; ++i) {
    LogSumExp sum;
    for (int64_t g = 0; g < groups; ++g) sum.Add(parts[g * count + i]);
    out[i] = {sum.value() - target_logit[i], sum.value()};
  }
  return out;
}

std::vector<PairScore> ComparePositions(const Decoder& decoder_a, const Decoder& decoder_b,
                                        std::span<const void* const> a, std::span<const void* const> b,
                                        std::span<const int64_t> rows_a, std::span<const int64_t> rows_b) {
  const int64_t count = a.size(), columns_all = rows_a.size();
  const Buffer gathered_a = Gather(decoder_a, a), gathered_b = Gather(decoder_b, b);
  const int64_t groups = GroupCount(decoder_a, columns_all);
  std::vector<PairSums> parts(groups * count);
  ForEachGroup(decoder_a, columns_all, [&](int64_t g, int64_t column, int64_t columns) {
    Group group_a(decoder_a, rows_a.subspan(column, columns));
    Group group_b(decoder_b, rows_b.subspan(column, columns));
    for (int64_t first = 0; first < count; first += kBlockRows) {
      const int64_t height = std::min(kBlockRows, count - first);
      group_a.Multiply(gathered_a, first, height);
      group_b.Multiply(gathered_b, first, height);
      for (int64_t i = 0; i < height; ++i) {
        PairSums& part = parts[g * count + first + i];
        part = Kernels().pair_sums(group_a.row(i), group_b.row(i), columns);
        part.argmax_a += column;
        part.argmax_b += column;
      }
    }
  });
  std::vector<PairScore> out(count);
  for (int64_t i = 0; i < count; ++i) {
    PairScore& score = out[i];
    score = {};
    LogSumExp sum_a, sum_b;
    float max_a = -HUGE_VALF, max_b = -HUGE_VALF;
    for (int64_t g = 0; g < groups; ++g) {
      const PairSums& part = parts[g * count + i];
      sum_a.Add(part.a);
      sum_b.Add(part.b);
      score.squares += part.squares;
      score.max_abs = std::max(score.max_abs, part.max_abs);
      if (part.a.max > max_a) max_a = part.a.max, score.argmax_a = part.argmax_a;
      if (part.b.max > max_b) max_b = part.b.max, score.argmax_b = part.argmax_b;
    }
    score.log_sum_exp_a = sum_a.value();
    score.log_sum_exp_b = sum_b.value();
    double expected = 0;  // Of a - b under a.
    for (int64_t g = 0; g < groups; ++g) {
      const PairSums& part = parts[g * count + i];
      expected += part.weighted * std::exp(part.a.max - score.log_sum_exp_a);
    }
    score.kl = expected - (score.log_sum_exp_a - score.log_sum_exp_b);
  }
  return out;
}

std::vector<float> Logits(const Decoder& decoder, std::span<const void* const> positions) {
  const int64_t count = positions.size(), width = decoder.config().vocab_size;
  const Buffer gathered = Gather(decoder, positions);
  std::vector<int64_t> all(width);
  std::iota(all.begin(), all.end(), 0);
  std::vector<float> out(count * width);
  ForEachGroup(decoder, width, [&](int64_t, int64_t column, int64_t columns) {
    Group group(decoder, std::span(all).subspan(column, columns));
    for (int64_t first = 0; first < count; first += kBlockRows) {
      const int64_t height = std::min(kBlockRows, count - first);
      group.Multiply(gathered, first, height);
      for (int64_t i = 0; i < height; ++i) {
        std::copy(group.row(i), group.row(i) + columns, out.begin() + (first + i) * width + column);
      }
    }
  });
  return out;
}

}  // namespace editd::nn
