#include "plugins/lib/nn/head.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plugins/lib/nn/parallel.h"
#include "storage/base/status.h"

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

// A thread's, kept from group to group and from call to call: new memory, page by page, would cost more than packing.
struct GroupMemory {
  Buffer packed, logits, scratch;
};

// One group of columns, packed, and what it gives for a chunk of positions. `first`: a multiple of kBlockColumns.
class Group {
 public:
  Group(const Decoder& decoder, int64_t first, int64_t columns, GroupMemory* memory)
      : decoder_(decoder), columns_(columns), memory_(*memory) {
    const int64_t blocks = (columns_ + kBlockColumns - 1) / kBlockColumns;
    const int64_t bytes = decoder.head().block_bytes(decoder.compute());
    memory_.packed.Reserve(blocks * bytes);
    for (int64_t b = 0; b < blocks; ++b) {
      decoder.head().Pack(decoder.compute(), first / kBlockColumns + b, &memory_.scratch,
                          memory_.packed.As<char>() + b * bytes);
    }
    memory_.logits.Reserve(kBlockRows * stride() * sizeof(float));
  }

  // Logits of `count` gathered positions from `first` on; row i at row(i).
  void Multiply(const Buffer& gathered, int64_t first, int64_t count) {
    const int64_t hidden = decoder_.config().hidden_size;
    const char* const x = gathered.As<char>() + first * hidden * BytesOf(decoder_.compute());
    for (int64_t c = 0; c < columns_; c += kBlockColumns) {
      decoder_.gemm()(count, std::min(kBlockColumns, columns_ - c), hidden, x, hidden,
                      decoder_.head().block(decoder_.compute(), memory_.packed.As<void>(), c / kBlockColumns),
                      kBlockColumns, memory_.logits.As<float>() + c, stride(), false);
    }
    const double cap = decoder_.config().logit_cap;
    for (int64_t i = 0; cap > 0 && i < count; ++i) {
      Kernels().soft_cap(memory_.logits.As<float>() + i * stride(), columns_, static_cast<float>(cap));
    }
  }
  const float* row(int64_t i) const { return memory_.logits.As<float>() + i * stride(); }

 private:
  int64_t stride() const { return columns_ / 32 * 32 + 48; }  // An odd number of cache lines.

  const Decoder& decoder_;
  int64_t columns_;
  GroupMemory& memory_;
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

absl::StatusOr<std::vector<Score>> ScoreTargets(const Decoder& decoder, std::span<const Position> positions,
                                                int64_t rows) {
  return ScoreTargets(decoder, positions, rows, {}, nullptr);
}

absl::StatusOr<std::vector<Score>> ScoreTargets(const Decoder& decoder, std::span<const Position> positions,
                                                int64_t rows, std::span<const int32_t> marked,
                                                std::vector<double>* probability) {
  const int64_t count = positions.size();
  std::vector<const void*> hidden(count);
  for (int64_t i = 0; i < count; ++i) hidden[i] = positions[i].hidden;
  const Buffer gathered = Gather(decoder, hidden);
  std::vector<Score> out(count);
  if (probability != nullptr) probability->assign(count, 0);
  if (decoder.device() != nullptr) {
    std::vector<int32_t> targets(count);
    for (int64_t i = 0; i < count; ++i) targets[i] = positions[i].target;
    RETURN_IF_ERROR(decoder.device()->ScoreTargets(gathered.As<void>(), targets, rows, marked, out.data(),
                                                   probability == nullptr ? nullptr : probability->data()));
    return out;
  }
  const int64_t groups = GroupCount(decoder, rows);
  std::vector<ExpSum> parts(groups * count);
  std::vector<float> target_logit(count);
  std::vector<ExpSum> marked_parts(marked.empty() ? 0 : groups * count);  // A sum of 0 where a group has no marked row.
  ForEachGroup(decoder, rows, [&](int64_t g, int64_t column, int64_t columns) {
    static thread_local GroupMemory memory;
    Group group(decoder, column, columns, &memory);
    const auto begin = std::lower_bound(marked.begin(), marked.end(), column);
    const auto end = std::lower_bound(begin, marked.end(), column + columns);
    std::vector<float> picked(end - begin);
    for (int64_t first = 0; first < count; first += kBlockRows) {
      const int64_t height = std::min(kBlockRows, count - first);
      group.Multiply(gathered, first, height);
      for (int64_t i = 0; i < height; ++i) {
        parts[g * count + first + i] = Kernels().exp_sum(group.row(i), columns);
        if (!picked.empty()) {
          std::transform(begin, end, picked.begin(), [&](int32_t row) { return group.row(i)[row - column]; });
          marked_parts[g * count + first + i] = Kernels().exp_sum(picked.data(), static_cast<int64_t>(picked.size()));
        }
        const int64_t target = positions[first + i].target - column;
        if (target >= 0 && target < columns) target_logit[first + i] = group.row(i)[target];
      }
    }
  });
  for (int64_t i = 0; i < count; ++i) {
    LogSumExp sum;
    for (int64_t g = 0; g < groups; ++g) sum.Add(parts[g * count + i]);
    out[i] = {sum.value() - target_logit[i], sum.value()};
  }
  if (probability == nullptr || marked.empty()) return out;
  for (int64_t i = 0; i < count; ++i) {
    LogSumExp sum;
    for (int64_t g = 0; g < groups; ++g) {
      if (marked_parts[g * count + i].sum > 0) sum.Add(marked_parts[g * count + i]);
    }
    (*probability)[i] = std::exp(sum.value() - out[i].log_sum_exp);
  }
  return out;
}

absl::Status LogitsInto(const Decoder& decoder, std::span<const void* const> positions, int64_t rows, float* out,
                        int64_t stride) {
  const int64_t count = positions.size();
  const Buffer gathered = Gather(decoder, positions);
  if (decoder.device() != nullptr) {
    return decoder.device()->LogitsInto(gathered.As<void>(), count, rows, out, stride);
  }
  ForEachGroup(decoder, rows, [&](int64_t, int64_t column, int64_t columns) {
    static thread_local GroupMemory memory;
    Group group(decoder, column, columns, &memory);
    for (int64_t first = 0; first < count; first += kBlockRows) {
      const int64_t height = std::min(kBlockRows, count - first);
      group.Multiply(gathered, first, height);
      for (int64_t i = 0; i < height; ++i) {
        std::copy(group.row(i), group.row(i) + columns, out + (first + i) * stride + column);
      }
    }
  });
  return absl::OkStatus();
}

Score ScoreOfLogits(const Decoder& decoder, const float* logits, int64_t rows, int64_t target) {
  const int64_t width = GroupColumns(decoder);
  LogSumExp sum;
  for (int64_t column = 0; column < rows; column += width) {
    sum.Add(Kernels().exp_sum(logits + column, std::min(width, rows - column)));
  }
  return {target < 0 ? 0 : sum.value() - logits[target], sum.value()};
}

absl::StatusOr<std::vector<float>> Logits(const Decoder& decoder, std::span<const void* const> positions) {
  const int64_t width = decoder.config().vocab_size;
  std::vector<float> out(positions.size() * width);
  RETURN_IF_ERROR(LogitsInto(decoder, positions, width, out.data(), width));
  return out;
}

}  // namespace editd::nn
