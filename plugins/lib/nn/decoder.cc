#include "plugins/lib/nn/decoder.h"

#include <algorithm>
#include <cmath>

#include "plugins/lib/nn/parallel.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

// Sequences are padded to a multiple of this; attention works on blocks of so many positions.
constexpr int64_t kStep = 32;
constexpr int64_t kAttentionRows = 64;

int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

void Decoder::PrepareRotations(int64_t length) {
  const int64_t half = config_.head_dim / 2;
  const int64_t have = cosine_.size() / half;
  cosine_.resize(std::max(have, length) * half);
  sine_.resize(cosine_.size());
  for (int64_t t = have; t < length; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<float>(t) * config_.inv_frequencies[i];
      cosine_[t * half + i] = static_cast<float>(std::cos(angle));
      sine_[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

void Decoder::Reserve(int64_t batch, int64_t length) {
  const int64_t rows = batch * length;
  const int64_t bytes = BytesOf(options_.compute);
  const int64_t wide = config_.heads * config_.head_dim;
  length_ = length;
  key_stride_ = length + 16;  // An odd number of cache lines: rows do not fall into the same sets.
  residual_.Reserve(rows * config_.hidden_size * sizeof(float));
  queries_.Reserve(rows * wide * bytes);
  attended_.Reserve(rows * wide * bytes);
  keys_.Reserve(batch * config_.kv_heads * config_.head_dim * key_stride_ * bytes);
  values_.Reserve(rows * config_.kv_heads * config_.head_dim * bytes);
  PrepareRotations(length);
}

absl::Status Decoder::Run(std::span<const std::span<const int32_t>> sequences, HiddenStates* out) {
  int64_t longest = 1;
  for (const auto& sequence : sequences) {
    longest = std::max<int64_t>(longest, sequence.size());
    for (int32_t id : sequence) {
      if (id < 0 || id >= config_.vocab_size) {
        return absl::InvalidArgumentError(
            StrCat("token id ", id, " has no row in an embedding of ", config_.vocab_size));
      }
    }
  }
  const int64_t length = RoundUp(longest, kStep);
  const int64_t batch = sequences.size();
  const int64_t rows = batch * length;
  Reserve(batch, length);
  out->width = config_.hidden_size;
  out->stride = length;
  out->bytes_per_row = config_.hidden_size * BytesOf(options_.compute);
  out->data.Reserve(rows * out->bytes_per_row);

  const int64_t chunks = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t parts = (length + kAttentionRows - 1) / kAttentionRows;
  const int64_t layers = config_.layers;
  for (int64_t l = 0; l <= layers; ++l) {
    ForEach(options_.threads, chunks, [&](int64_t chunk) {
      static thread_local Scratch scratch;
      const int64_t first = chunk * kBlockRows;
      const int64_t count = std::min(kBlockRows, rows - first);
      if (l == 0) Embed(sequences, first, count);
      if (l > 0) OutputAndMlp(layers_[l - 1], first, count, &scratch);
      if (l < layers) {
        QueriesKeysValues(layers_[l], first, count, &scratch);
        return;
      }
      for (int64_t r = first; r < first + count; ++r) {
        Kernels().rms_norm(residual_.As<float>() + r * config_.hidden_size, final_norm_.data(), config_.hidden_size,
                           config_.rms_norm_eps, options_.compute, out->data.As<char>() + r * out->bytes_per_row);
      }
    });
    if (l == layers) break;
    ForEach(options_.threads, batch * config_.kv_heads * parts, [&](int64_t task) {
      static thread_local Scratch scratch;
      // The last positions see the most keys: they go first, so that no thread is left with them alone.
      const int64_t part = parts - 1 - task % parts;
      const int64_t pair = task / parts;
      Attend(pair / config_.kv_heads, pair % config_.kv_heads, part * kAttentionRows,
             std::min(kAttentionRows, length - part * kAttentionRows), &scratch);
    });
  }
  return absl::OkStatus();
}

void Decoder::Embed(std::span<const std::span<const int32_t>> sequences, int64_t first, int64_t rows) {
  for (int64_t r = first; r < first + rows; ++r) {
    const auto& sequence = sequences[r / length_];
    const int64_t position = r % length_;
    const int64_t id = position < static_cast<int64_t>(sequence.size()) ? sequence[position] : 0;
    ReadFloats(embedding_, id * config_.hidden_size, config_.hidden_size,
               residual_.As<float>() + r * config_.hidden_size);
  }
}

void Decoder::QueriesKeysValues(const Layer& layer, int64_t first, int64_t rows, Scratch* scratch) {
  const KernelTable& kernels = Kernels();
  const Compute compute = options_.compute;
  const int64_t bytes = BytesOf(compute);
  const int64_t hidden = config_.hidden_size, dim = config_.head_dim, half = dim / 2;
  const int64_t query_width = config_.heads * dim, kv_width = config_.kv_heads * dim;
  const int64_t width = query_width + 2 * kv_width;
  scratch->x.Reserve(kBlockRows * hidden * bytes);
  scratch->wide.Reserve(kBlockRows * width * sizeof(float));
  for (int64_t i = 0; i < rows; ++i) {
    kernels.rms_norm(residual_.As<float>() + (first + i) * hidden, layer.input_norm.data(), hidden,
                     config_.rms_norm_eps, compute, scratch->x.As<char>() + i * hidden * bytes);
  }
  float* const wide = scratch->wide.As<float>();
  layer.qkv.Multiply(options_.gemm, rows, scratch->x.As<void>(), hidden, wide, width, /*add=*/false);

  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  for (int64_t i = 0; i < rows; ++i) {
    float* const row = wide + i * width;
    const int64_t r = first + i, sequence = r / length_, t = r % length_;
    if (!layer.qkv_bias.empty()) kernels.add(row, layer.qkv_bias.data(), width);
    for (int64_t h = 0; h < config_.heads + config_.kv_heads; ++h) {
      float* const head = row + h * dim;
      if (config_.qk_norm) {
        const auto& norm = h < config_.heads ? layer.query_norm : layer.key_norm;
        kernels.rms_norm(head, norm.data(), dim, config_.rms_norm_eps, Compute::kF32, head);
      }
      kernels.rotate(head, &cosine_[t * half], &sine_[t * half], half);
    }
    kernels.convert(row, scale, query_width, compute, queries_.As<char>() + r * query_width * bytes);
    // Keys become columns, values rows; bf16 pairs neighbours of the summed dimension.
    for (int64_t h = 0; h < config_.kv_heads; ++h) {
      const int64_t pair = sequence * config_.kv_heads + h;
      float* const key = row + query_width + h * dim;
      float* const value = row + query_width + kv_width + h * dim;
      if (compute == Compute::kF32) {
        float* const keys = keys_.As<float>() + pair * dim * key_stride_;
        for (int64_t d = 0; d < dim; ++d) keys[d * key_stride_ + t] = key[d];
        std::copy(value, value + dim, values_.As<float>() + (pair * length_ + t) * dim);
      } else {
        uint32_t* const keys = keys_.As<uint32_t>() + pair * half * key_stride_;
        kernels.convert(key, 1.0f, dim, compute, key);
        const uint32_t* const units = reinterpret_cast<const uint32_t*>(key);
        for (int64_t d = 0; d < half; ++d) keys[d * key_stride_ + t] = units[d];
        uint16_t* const values = values_.As<uint16_t>() + (pair * length_ + t / 2 * 2) * dim + t % 2;
        kernels.convert(value, 1.0f, dim, compute, value);
        const uint16_t* const shorts = reinterpret_cast<const uint16_t*>(value);
        for (int64_t d = 0; d < dim; ++d) values[d * 2] = shorts[d];
      }
    }
  }
}

// Plain soft-max over whole rows: a row of scores of the longest context is a few KiB, so no running maximum is needed.
void Decoder::Attend(int64_t sequence, int64_t kv_head, int64_t first, int64_t rows, Scratch* scratch) {
  const KernelTable& kernels = Kernels();
  const Compute compute = options_.compute;
  const int64_t bytes = BytesOf(compute);
  const int64_t dim = config_.head_dim, query_width = config_.heads * dim;
  const int64_t pair = sequence * config_.kv_heads + kv_head;
  const int64_t seen = first + rows;  // Keys that the last row sees; a multiple of kStep.
  const int64_t stride = key_stride_;
  const char* const keys = keys_.As<char>() + pair * dim * stride * bytes;
  const char* const values = values_.As<char>() + pair * length_ * dim * bytes;
  scratch->wide.Reserve(kAttentionRows * stride * sizeof(float));
  scratch->x.Reserve(kAttentionRows * stride * bytes);
  scratch->act.Reserve(kAttentionRows * (dim + 1) * sizeof(float));
  float* const scores = scratch->wide.As<float>();
  char* const weights = scratch->x.As<char>();
  float* const sums = scratch->act.As<float>();
  float* const result = sums + kAttentionRows;
  const int64_t group = config_.heads / config_.kv_heads;
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
    const int64_t at = ((sequence * length_ + first) * query_width + h * dim) * bytes;
    options_.gemm(rows, seen, dim, queries_.As<char>() + at, query_width, keys, stride, scores, stride, false);
    for (int64_t i = 0; i < rows; ++i) {
      sums[i] = kernels.exp_row(scores + i * stride, first + i + 1, seen, compute, weights + i * stride * bytes);
    }
    options_.gemm(rows, dim, seen, weights, stride, values, dim, result, dim, false);
    for (int64_t i = 0; i < rows; ++i) {
      kernels.convert(result + i * dim, 1.0f / sums[i], dim, compute,
                      attended_.As<char>() + at + i * query_width * bytes);
    }
  }
}

void Decoder::OutputAndMlp(const Layer& layer, int64_t first, int64_t rows, Scratch* scratch) {
  const KernelTable& kernels = Kernels();
  const Compute compute = options_.compute;
  const int64_t bytes = BytesOf(compute);
  const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
  const int64_t query_width = config_.heads * config_.head_dim;
  float* const residual = residual_.As<float>() + first * hidden;
  const auto add_bias = [&](const std::vector<float>& bias, float* x, int64_t width, int64_t ld) {
    if (bias.empty()) return;
    for (int64_t i = 0; i < rows; ++i) kernels.add(x + i * ld, bias.data(), width);
  };

  layer.output.Multiply(options_.gemm, rows, attended_.As<char>() + first * query_width * bytes, query_width, residual,
                        hidden, /*add=*/true);
  add_bias(layer.output_bias, residual, hidden, hidden);
  scratch->x.Reserve(kBlockRows * hidden * bytes);
  char* const x = scratch->x.As<char>();
  for (int64_t i = 0; i < rows; ++i) {
    kernels.rms_norm(residual + i * hidden, layer.post_norm.data(), hidden, config_.rms_norm_eps, compute,
                     x + i * hidden * bytes);
  }

  scratch->act.Reserve(kBlockRows * inner * bytes);
  scratch->gate.Reserve(kBlockRows * kBlockColumns * sizeof(float));
  scratch->up.Reserve(kBlockRows * kBlockColumns * sizeof(float));
  char* const act = scratch->act.As<char>();
  float* const gate = scratch->gate.As<float>();
  float* const up = scratch->up.As<float>();
  for (int64_t block = 0; block < layer.gate.blocks(); ++block) {
    const int64_t column = block * kBlockColumns, columns = layer.gate.block_columns(block);
    options_.gemm(rows, columns, hidden, x, hidden, layer.gate.block(block), kBlockColumns, gate, kBlockColumns, false);
    options_.gemm(rows, columns, hidden, x, hidden, layer.up.block(block), kBlockColumns, up, kBlockColumns, false);
    for (int64_t i = 0; i < rows; ++i) {
      float* const g = gate + i * kBlockColumns;
      float* const u = up + i * kBlockColumns;
      if (!layer.gate_bias.empty()) {
        kernels.add(g, layer.gate_bias.data() + column, columns);
        kernels.add(u, layer.up_bias.data() + column, columns);
      }
      kernels.swiglu(g, u, columns, compute, act + (i * inner + column) * bytes);
    }
  }
  layer.down.Multiply(options_.gemm, rows, act, inner, residual, hidden, /*add=*/true);
  add_bias(layer.down_bias, residual, hidden, hidden);
}

}  // namespace editd::nn
