#include "plugins/lib/nn/stepper.h"

#include <algorithm>
#include <cstring>

#include "plugins/lib/nn/head.h"
#include "plugins/lib/nn/parallel.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

constexpr int64_t kStep = 32;  // Products over positions go by multiples of this, as key_values.h has room for them.
constexpr int kSpins = 4000;   // Some tens of microseconds.
constexpr int kPhases = 5;     // Of a layer: projections, attention, output, MLP in, MLP out.

int ThreadsFor(const Decoder& decoder) {
  constexpr int64_t kWorthMeeting = 1 << 18;  // Weights of a layer.
  const int64_t weights = decoder.config().hidden_size * decoder.config().intermediate_size * 3;
  return weights < kWorthMeeting ? 1 : std::max(1, decoder.threads());
}

inline void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

class Stepper::Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void Meet() {
    if (threads_ == 1) return;
    const int turn = turn_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      turn_.store(turn + 1, std::memory_order_release);
      turn_.notify_all();
      return;
    }
    // Long enough for the others' work. Beyond it somebody was put aside, and may need this processor.
    for (int spins = 0; spins < kSpins; ++spins) {
      if (turn_.load(std::memory_order_acquire) != turn) return;
      Pause();
    }
    turn_.wait(turn, std::memory_order_acquire);
  }

 private:
  const int threads_;
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> turn_{0};
};

struct Stepper::Own {
  Buffer residual, x, arranged, queries, scores, weights, result, gate, up;
};

Stepper::Stepper(const Decoder* decoder, int64_t rows, int threads)
    : decoder_(*decoder),
      gemm_(PortableBlockGemm(decoder->compute())),
      threads_(threads > 0 ? threads : ThreadsFor(*decoder)),
      rows_(std::min(rows, decoder->head().columns())),
      taken_(decoder->config().layers * kPhases + 1) {}

void Stepper::Product(const WeightMatrix& matrix, int64_t count, const void* x, float* y, int64_t ldy, int phase,
                      Own* own) {
  matrix.Arrange(decoder_.compute(), count, x, &own->arranged);
  for (int64_t b = Take(phase); b < matrix.blocks(); b = Take(phase)) {
    matrix.MultiplyRows(decoder_.compute(), b * kBlockColumns, matrix.block_columns(b), count, own->arranged,
                        y + b * kBlockColumns, ldy);
  }
}

void Stepper::Head(int64_t count, const void* x, float* logits, int phase, Own* own) {
  const float cap = static_cast<float>(decoder_.config().logit_cap);
  decoder_.head().Arrange(decoder_.compute(), count, x, &own->arranged);
  for (int64_t r = Take(phase) * kBlockColumns; r < rows(); r = Take(phase) * kBlockColumns) {
    const int64_t columns = std::min(kBlockColumns, rows() - r);
    decoder_.head().MultiplyRows(decoder_.compute(), r, columns, count, own->arranged, logits + r, rows());
    for (int64_t i = 0; cap > 0 && i < count; ++i) Kernels().soft_cap(logits + i * rows() + r, columns, cap);
  }
}

absl::Status Stepper::Step(std::span<const Entry> entries, float* logits) {
  const DecoderConfig& config = decoder_.config();
  const int64_t count = entries.size(), bytes = BytesOf(decoder_.compute());
  if (count == 0 || count > kBlockRows) {
    return absl::InvalidArgumentError(StrCat(count, " sequences in a step; 1 to ", kBlockRows, " fit"));
  }
  rotations_.Forget();
  tables_.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    const auto& [token, cache] = entries[i];
    if (token < 0 || token >= config.vocab_size) {
      return absl::InvalidArgumentError(
          StrCat("token id ", token, " has no row in an embedding of ", config.vocab_size));
    }
    tables_[i].clear();
    for (const Rope& rope : config.ropes) tables_[i].push_back(&rotations_.For(rope, cache->length + 1));
  }
  if (decoder_.device() != nullptr) return StepOnDevice(entries, logits);
  for (const Entry& entry : entries) {
    KeyValueCache* const cache = entry.cache;
    cache->layers.resize(config.layers);
    // Within a step of 32 positions there is room already, and what stands behind is a number.
    if (cache->length % kStep != 0) continue;
    for (KeyValues& layer : cache->layers) layer.Prepare(config, decoder_.compute(), cache->length, cache->length + 1);
  }
  wide_.Reserve(count * (config.heads + 2 * config.kv_heads) * config.head_dim * sizeof(float));
  attended_.Reserve(count * config.heads * config.head_dim * bytes);
  act_.Reserve(count * config.intermediate_size * bytes);
  out_.Reserve(count * config.hidden_size * sizeof(float));
  for (auto& taken : taken_) taken.store(0, std::memory_order_relaxed);
  Barrier barrier(threads_);
  ForEach(threads_, threads_, [&](int64_t) {
    static thread_local Own own;
    Work(entries, logits, &own, &barrier);
  });
  for (const Entry& entry : entries) ++entry.cache->length;
  return absl::OkStatus();
}

absl::Status Stepper::StepOnDevice(std::span<const Entry> entries, float* logits) {
  std::vector<Part> parts;
  for (size_t i = 0; i < entries.size(); ++i) {
    parts.push_back({std::span(&entries[i].token, 1), static_cast<int64_t>(i), entries[i].cache->length,
                     entries[i].cache, tables_[i]});
  }
  const int64_t count = entries.size();
  attended_.Reserve(count * decoder_.config().hidden_size * BytesOf(decoder_.compute()));
  RETURN_IF_ERROR(decoder_.device()->Run(parts, attended_.As<void>()));
  for (const Entry& entry : entries) ++entry.cache->length;
  return decoder_.device()->LogitsInto(attended_.As<void>(), count, rows(), logits, rows());
}

absl::Status Stepper::Logits(std::span<const void* const> hidden, float* logits) {
  if (decoder_.device() != nullptr) return LogitsInto(decoder_, hidden, rows(), logits, rows());
  const int64_t width = decoder_.config().hidden_size * BytesOf(decoder_.compute());
  for (size_t first = 0; first < hidden.size(); first += kBlockRows) {
    const int64_t count = std::min<int64_t>(kBlockRows, hidden.size() - first);
    Buffer x(count * width);
    for (int64_t i = 0; i < count; ++i) std::memcpy(x.As<char>() + i * width, hidden[first + i], width);
    taken_[0].store(0, std::memory_order_relaxed);
    ForEach(threads_, threads_, [&](int64_t) {
      static thread_local Own own;
      Head(count, x.As<void>(), logits + first * rows(), 0, &own);
    });
  }
  return absl::OkStatus();
}

// residual += what the last product gave, with its bias, normed if the family has it so.
void Stepper::NormedAdd(const std::vector<float>& bias, const std::vector<float>& norm, int64_t count, Own* own) {
  const KernelTable& kernels = Kernels();
  const int64_t hidden = decoder_.config().hidden_size;
  float* const sum = own->result.As<float>();
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(sum, out_.As<float>() + i * hidden, hidden * sizeof(float));
    if (!bias.empty()) kernels.add(sum, bias.data(), hidden);
    if (!norm.empty()) {
      kernels.rms_norm(sum, norm.data(), hidden, decoder_.config().rms_norm_eps, Compute::kF32, sum);
    }
    kernels.add(own->residual.As<float>() + i * hidden, sum, hidden);
  }
}

void Stepper::Work(std::span<const Entry> entries, float* logits, Own* own, Barrier* barrier) {
  const KernelTable& kernels = Kernels();
  const DecoderConfig& config = decoder_.config();
  const Compute compute = decoder_.compute();
  const int64_t count = entries.size(), bytes = BytesOf(compute);
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t width = (config.heads + 2 * config.kv_heads) * config.head_dim;
  own->residual.Reserve(count * hidden * sizeof(float));
  own->x.Reserve(count * hidden * bytes);
  own->result.Reserve(std::max(hidden, config.heads * config.head_dim) * sizeof(float));
  own->gate.Reserve(count * kBlockColumns * sizeof(float));
  own->up.Reserve(count * kBlockColumns * sizeof(float));
  char* const x = own->x.As<char>();
  const auto normed = [&](const std::vector<float>& norm) {
    for (int64_t i = 0; i < count; ++i) {
      kernels.rms_norm(own->residual.As<float>() + i * hidden, norm.data(), hidden, config.rms_norm_eps, compute,
                       x + i * hidden * bytes);
    }
  };
  for (int64_t i = 0; i < count; ++i) decoder_.Embed(entries[i].token, own->residual.As<float>() + i * hidden);
  const auto activate = config.activation == Activation::kSilu ? kernels.swiglu : kernels.geglu;
  int phase = 0;
  for (int64_t l = 0; l < config.layers; ++l) {
    const DecoderLayer& layer = decoder_.layer(l);
    normed(layer.input_norm);
    Product(layer.qkv, count, x, wide_.As<float>(), width, phase++, own);
    barrier->Meet();
    for (int64_t t = Take(phase); t < count * config.kv_heads; t = Take(phase)) {
      Attend(entries[t / config.kv_heads], t / config.kv_heads, l, t % config.kv_heads, own);
    }
    ++phase;
    barrier->Meet();
    Product(layer.output, count, attended_.As<void>(), out_.As<float>(), hidden, phase++, own);
    barrier->Meet();
    NormedAdd(layer.output_bias, layer.attended_norm, count, own);
    normed(layer.mlp_norm);
    float* const gate = own->gate.As<float>();
    float* const up = own->up.As<float>();
    layer.gate.Arrange(compute, count, x, &own->arranged);
    for (int64_t b = Take(phase); b < layer.gate.blocks(); b = Take(phase)) {
      const int64_t column = b * kBlockColumns, columns = layer.gate.block_columns(b);
      layer.gate.MultiplyRows(compute, column, columns, count, own->arranged, gate, kBlockColumns);
      layer.up.MultiplyRows(compute, column, columns, count, own->arranged, up, kBlockColumns);
      for (int64_t i = 0; i < count; ++i) {
        float* const g = gate + i * kBlockColumns;
        float* const u = up + i * kBlockColumns;
        if (!layer.gate_bias.empty()) {
          kernels.add(g, layer.gate_bias.data() + column, columns);
          kernels.add(u, layer.up_bias.data() + column, columns);
        }
        activate(g, u, columns, compute, act_.As<char>() + (i * inner + column) * bytes);
      }
    }
    ++phase;
    barrier->Meet();
    Product(layer.down, count, act_.As<void>(), out_.As<float>(), hidden, phase++, own);
    barrier->Meet();
    NormedAdd(layer.down_bias, layer.mlp_out_norm, count, own);
  }
  normed(decoder_.final_norm());
  Head(count, x, logits, phase, own);
}

// One key head and the query heads that share it: norms, rotation, the new key and value, attention. The heads are the
// rows of the products.
void Stepper::Attend(const Entry& entry, int64_t row, int64_t layer, int64_t kv_head, Own* own) {
  const KernelTable& kernels = Kernels();
  const DecoderConfig& config = decoder_.config();
  const DecoderLayer& weights = decoder_.layer(layer);
  const LayerAttention& attention = config.attention[layer];
  const Compute compute = decoder_.compute();
  const int64_t bytes = BytesOf(compute), dim = config.head_dim, half = dim / 2;
  const int64_t group = config.heads / config.kv_heads, position = entry.cache->length;
  const int64_t query_width = config.heads * dim, kv_width = config.kv_heads * dim;
  float* const wide = wide_.As<float>() + row * (query_width + 2 * kv_width);
  const RotationTable& rotation = *tables_[row][attention.rope];
  const auto finish = [&](int64_t head, const std::vector<float>& norm) {
    float* const at = wide + head * dim;
    if (!weights.qkv_bias.empty()) kernels.add(at, weights.qkv_bias.data() + head * dim, dim);
    if (config.qk_norm) kernels.rms_norm(at, norm.data(), dim, config.rms_norm_eps, Compute::kF32, at);
    kernels.rotate(at, &rotation.cosine[position * half], &rotation.sine[position * half], half);
  };
  own->queries.Reserve(group * dim * bytes);
  for (int64_t h = 0; h < group; ++h) {
    finish(kv_head * group + h, weights.query_norm);
    kernels.convert(wide + (kv_head * group + h) * dim, static_cast<float>(config.query_scale), dim, compute,
                    own->queries.As<char>() + h * dim * bytes);
  }
  finish(config.heads + kv_head, weights.key_norm);
  float* const key = wide + query_width + kv_head * dim;
  if (!weights.qkv_bias.empty()) {
    kernels.add(key + kv_width, weights.qkv_bias.data() + query_width + kv_width + kv_head * dim, dim);
  }
  KeyValues& memory = entry.cache->layers[layer];
  memory.Put(kv_head, position, key, key + kv_width);

  const int64_t from = attention.window > 0 ? std::max<int64_t>(0, position - attention.window + 1) : 0;
  const int64_t begin = from / kStep * kStep, end = (position + kStep) / kStep * kStep, seen = end - begin;
  own->scores.Reserve(group * seen * sizeof(float));
  own->weights.Reserve(group * seen * bytes);
  float* const scores = own->scores.As<float>();
  char* const shares = own->weights.As<char>();
  gemm_(group, seen, dim, own->queries.As<void>(), dim, static_cast<const char*>(memory.keys(kv_head)) + begin * 4,
        memory.key_stride(), scores, seen, false);
  float sums[kBlockRows * 4];
  for (int64_t h = 0; h < group; ++h) {
    float* const line = scores + h * seen;
    if (config.attention_cap > 0) {
      kernels.soft_cap(line + from - begin, position + 1 - from, static_cast<float>(config.attention_cap));
    }
    sums[h] = kernels.exp_row(line, from - begin, position + 1 - begin, seen, compute, shares + h * seen * bytes);
  }
  float* const result = own->result.As<float>();
  gemm_(group, dim, seen, shares, seen, static_cast<const char*>(memory.values(kv_head)) + begin * dim * bytes, dim,
        result, dim, false);
  char* const to = attended_.As<char>() + (row * query_width + kv_head * group * dim) * bytes;
  for (int64_t h = 0; h < group; ++h)
    kernels.convert(result + h * dim, 1.0f / sums[h], dim, compute, to + h * dim * bytes);
}

}  // namespace editd::nn
