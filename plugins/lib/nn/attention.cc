// Scores of all of a block's keys at once, then soft-max, then the sum of values: two products a head. A row of scores
// of the longest context is a few KiB, so no running maximum is needed. A window or the block's place leaves keys out:
// products run from the first key that any row sees, to a multiple of 32; for what a single row does not see its weight
// is exactly 0.
#include "plugins/lib/nn/attention.h"

#include <algorithm>

namespace editd::nn {
namespace {

constexpr int64_t kStep = 32;

int64_t RoundUp(int64_t n) { return (n + kStep - 1) / kStep * kStep; }

}  // namespace

void Attend(const DecoderConfig& config, const LayerAttention& layer, Compute compute, BlockGemm gemm,
            const KeyValues& memory, const AttentionBlock& block, AttentionScratch* scratch) {
  const KernelTable& kernels = Kernels();
  const int64_t bytes = BytesOf(compute);
  const int64_t dim = config.head_dim, width = config.heads * dim;
  const int64_t group = config.heads / config.kv_heads;
  const auto first_seen = [&](int64_t position) {
    return layer.window > 0 ? std::max<int64_t>(0, position - layer.window + 1) : 0;
  };
  const int64_t begin = first_seen(block.first / kAttentionRows * kAttentionRows) / kStep * kStep;
  const int64_t end = RoundUp(block.first + block.rows);
  const int64_t seen = end - begin;
  const int64_t stride = seen + 16;
  // Whole steps: products are made for each shape that occurs, and this keeps them few.
  const int64_t rows = RoundUp(block.rows);
  scratch->scores.Reserve(kAttentionRows * stride * sizeof(float));
  scratch->weights.Reserve(kAttentionRows * stride * bytes);
  scratch->result.Reserve(kAttentionRows * dim * sizeof(float));
  float* const scores = scratch->scores.As<float>();
  char* const weights = scratch->weights.As<char>();
  float* const result = scratch->result.As<float>();
  float sums[kAttentionRows];
  const char* const keys = static_cast<const char*>(memory.keys(block.kv_head)) + begin * 4;  // Columns are 32 bits.
  const char* const values = static_cast<const char*>(memory.values(block.kv_head)) + begin * dim * bytes;
  for (int64_t h = block.kv_head * group; h < (block.kv_head + 1) * group; ++h) {
    const int64_t at = h * dim * bytes;
    gemm(rows, seen, dim, static_cast<const char*>(block.queries) + at, width, keys, memory.key_stride(), scores,
         stride, false);
    for (int64_t i = 0; i < block.rows; ++i) {
      const int64_t position = block.first + i;
      float* const row = scores + i * stride;
      const int64_t from = first_seen(position) - begin, to = position + 1 - begin;
      if (config.attention_cap > 0) kernels.soft_cap(row + from, to - from, static_cast<float>(config.attention_cap));
      sums[i] = kernels.exp_row(row, from, to, seen, compute, weights + i * stride * bytes);
    }
    gemm(rows, dim, seen, weights, stride, values, dim, result, dim, false);
    for (int64_t i = 0; i < block.rows; ++i) {
      kernels.convert(result + i * dim, 1.0f / sums[i], dim, compute,
                      static_cast<char*>(block.out) + at + i * width * bytes);
    }
  }
}

}  // namespace editd::nn
