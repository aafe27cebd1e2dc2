#include "plugins/lib/nn/decoder.h"

#include <algorithm>
#include <cstring>

#include "plugins/lib/nn/parallel.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

// The batch is padded to a multiple of this: products of few different heights occur.
constexpr int64_t kStep = 32;

int64_t RoundUp(int64_t n, int64_t step) { return (n + step - 1) / step * step; }

}  // namespace

KeyValues& Decoder::MemoryOf(int64_t part, int64_t layer) {
  return parts_[part].cache != nullptr ? parts_[part].cache->layers[layer] : memories_[part];
}

// Says which row of the batch is which position.
absl::Status Decoder::Lay(std::span<const std::span<const int32_t>> sequences, std::span<KeyValueCache* const> caches) {
  parts_.clear();
  rotations_.Forget();
  int64_t rows = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const std::span<const int32_t> ids = sequences[s];
    for (int32_t id : ids) {
      if (id >= 0 && id < config_.vocab_size) continue;
      return absl::InvalidArgumentError(StrCat("token id ", id, " has no row in an embedding of ", config_.vocab_size));
    }
    KeyValueCache* const cache = caches.empty() ? nullptr : caches[s];
    const int64_t start = cache == nullptr ? 0 : cache->length;
    parts_.push_back({ids, rows, start, cache, {}});
    for (const Rope& rope : config_.ropes) {
      parts_.back().rotations.push_back(&rotations_.For(rope, start + parts_.back().length()));
    }
    rows += parts_.back().length();
  }
  return absl::OkStatus();
}

void Decoder::MakeRoom() {
  rows_.clear();
  memories_.resize(std::max(memories_.size(), parts_.size()));
  for (size_t p = 0; p < parts_.size(); ++p) {
    const Part& part = parts_[p];
    const int64_t length = part.start + part.length();
    for (int64_t t = part.start; t < length; ++t) rows_.push_back({static_cast<int32_t>(p), t});
    if (part.cache != nullptr) part.cache->layers.resize(config_.layers);
    for (int64_t l = 0; l < (part.cache == nullptr ? 1 : config_.layers); ++l) {
      MemoryOf(static_cast<int64_t>(p), l).Prepare(config_, options_.compute, part.start, length);
    }
  }
  rows_.resize(RoundUp(std::max<int64_t>(1, rows_.size()), kStep));
  const int64_t rows = rows_.size(), wide = config_.heads * config_.head_dim * BytesOf(options_.compute);
  residual_.Reserve(rows * config_.hidden_size * sizeof(float));
  // Attention reads whole steps from any row on.
  queries_.Reserve((rows + kStep) * wide);
  attended_.Reserve(rows * wide);
  for (int64_t r = rows - 1; r >= 0 && rows_[r].part < 0; --r) std::memset(attended_.As<char>() + r * wide, 0, wide);
}

absl::Status Decoder::Run(std::span<const std::span<const int32_t>> sequences, std::span<KeyValueCache* const> caches,
                          HiddenStates* out) {
  RETURN_IF_ERROR(Lay(sequences, caches));
  out->width = config_.hidden_size;
  out->bytes_per_row = config_.hidden_size * BytesOf(options_.compute);
  out->first.clear();
  for (const Part& part : parts_) out->first.push_back(part.first_row);
  if (device_ == nullptr) {
    RunHere(out);
  } else {
    out->data.Reserve((parts_.empty() ? 0 : parts_.back().first_row + parts_.back().length()) * out->bytes_per_row);
    RETURN_IF_ERROR(device_->Run(parts_, out->data.As<void>()));
  }
  for (const Part& part : parts_) {
    if (part.cache != nullptr) part.cache->length = part.start + part.length();
  }
  return absl::OkStatus();
}

void Decoder::RunHere(HiddenStates* out) {
  MakeRoom();
  const int64_t rows = rows_.size();
  out->data.Reserve(rows * out->bytes_per_row);
  struct Task {
    int64_t part;
    AttentionBlock block;
  };
  std::vector<Task> tasks;
  for (size_t p = 0; p < parts_.size(); ++p) {
    const Part& part = parts_[p];
    const int64_t end = part.start + part.length();
    const int64_t width = config_.heads * config_.head_dim * BytesOf(options_.compute);
    for (int64_t h = 0; h < config_.kv_heads; ++h) {
      // Blocks of one head in a row, for they read the same keys. The last positions see the most of them: they go
      // first, so that no thread is left with them alone.
      for (int64_t next = end, first; next > part.start; next = first) {
        first = std::max(part.start, (next - 1) / kAttentionRows * kAttentionRows);
        const int64_t at = (part.first_row + first - part.start) * width;
        tasks.push_back(
            {static_cast<int64_t>(p), {h, first, next - first, queries_.As<char>() + at, attended_.As<char>() + at}});
      }
    }
  }

  const auto pack = [](const Packing& block, Compute compute) {
    static thread_local Buffer scratch;
    block.matrix->Pack(compute, block.block, &scratch, block.out);
  };
  const int64_t chunks = (rows + kBlockRows - 1) / kBlockRows;
  const int64_t layers = config_.layers;
  std::vector<Packing> packings = PackingsOf(-1);
  ForEach(options_.threads, packings.size(), [&](int64_t i) { pack(packings[i], options_.compute); });
  for (int64_t l = 0; l <= layers; ++l) {
    ForEach(options_.threads, chunks, [&](int64_t chunk) {
      static thread_local Scratch scratch;
      const int64_t first = chunk * kBlockRows;
      const int64_t count = std::min(kBlockRows, rows - first);
      float* const residual = residual_.As<float>() + first * config_.hidden_size;
      for (int64_t i = 0; l == 0 && i < count; ++i) {
        const Row& row = rows_[first + i];
        const int32_t id = row.part < 0 ? 0 : parts_[row.part].ids[row.position - parts_[row.part].start];
        Embed(id, residual + i * config_.hidden_size);
      }
      if (l > 0) OutputAndMlp(l - 1, first, count, &scratch);
      if (l < layers) {
        QueriesKeysValues(l, first, count, &scratch);
        return;
      }
      for (int64_t i = 0; i < count; ++i) {
        Kernels().rms_norm(residual + i * config_.hidden_size, final_norm_.data(), config_.hidden_size,
                           config_.rms_norm_eps, options_.compute,
                           out->data.As<char>() + (first + i) * out->bytes_per_row);
      }
    });
    if (l == layers) break;
    packings = PackingsOf(l);
    const int64_t attentions = tasks.size();
    ForEach(options_.threads, attentions + packings.size(), [&](int64_t i) {
      if (i >= attentions) return pack(packings[i - attentions], options_.compute);
      static thread_local AttentionScratch scratch;
      Attend(config_, config_.attention[l], options_.compute, options_.gemm, MemoryOf(tasks[i].part, l), tasks[i].block,
             &scratch);
    });
  }
}

std::vector<Decoder::Packing> Decoder::PackingsOf(int64_t index) {
  std::vector<Packing> out;
  const auto add = [&](const WeightMatrix& matrix, Buffer* to) {
    const int64_t bytes = matrix.block_bytes(options_.compute);
    to->Reserve(matrix.blocks() * bytes);
    for (int64_t b = 0; b < matrix.blocks(); ++b) out.push_back({&matrix, b, to->As<char>() + b * bytes});
  };
  if (index >= 0) {
    const DecoderLayer& layer = layers_[index];
    add(layer.output, &packed_output_);
    add(layer.gate, &packed_gate_);
    add(layer.up, &packed_up_);
    add(layer.down, &packed_down_);
  }
  if (index + 1 < config_.layers) add(layers_[index + 1].qkv, &packed_qkv_);
  return out;
}

void Decoder::Embed(int32_t id, float* out) const {
  ReadFloats(embedding_, id * config_.hidden_size, config_.hidden_size, out);
  if (embedding_scale_ == 1) return;
  Kernels().convert(out, embedding_scale_, config_.hidden_size, Compute::kF32, out);
}

void Decoder::QueriesKeysValues(int64_t index, int64_t first, int64_t rows, Scratch* scratch) {
  const DecoderLayer& layer = layers_[index];
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
  layer.qkv.Multiply(options_.gemm, compute, packed_qkv_.As<void>(), rows, scratch->x.As<void>(), hidden, wide, width,
                     /*add=*/false);

  const int rope = config_.attention[index].rope;
  for (int64_t i = 0; i < rows; ++i) {
    const Row& place = rows_[first + i];
    if (place.part < 0) break;
    float* const row = wide + i * width;
    const RotationTable& rotation = *parts_[place.part].rotations[rope];
    if (!layer.qkv_bias.empty()) kernels.add(row, layer.qkv_bias.data(), width);
    for (int64_t h = 0; h < config_.heads + config_.kv_heads; ++h) {
      float* const head = row + h * dim;
      if (config_.qk_norm) {
        const auto& norm = h < config_.heads ? layer.query_norm : layer.key_norm;
        kernels.rms_norm(head, norm.data(), dim, config_.rms_norm_eps, Compute::kF32, head);
      }
      kernels.rotate(head, &rotation.cosine[place.position * half], &rotation.sine[place.position * half], half);
    }
    kernels.convert(row, static_cast<float>(config_.query_scale), query_width, compute,
                    queries_.As<char>() + (first + i) * query_width * bytes);
    KeyValues& memory = MemoryOf(place.part, index);
    for (int64_t h = 0; h < config_.kv_heads; ++h) {
      float* const key = row + query_width + h * dim;
      memory.Put(h, place.position, key, key + kv_width);
    }
  }
}

void Decoder::AddProduct(const WeightMatrix& matrix, const void* packed, const std::vector<float>& bias,
                         const std::vector<float>& norm, const void* x, int64_t rows, float* residual,
                         Scratch* scratch) {
  const KernelTable& kernels = Kernels();
  const int64_t hidden = config_.hidden_size;
  float* out = residual;
  if (!norm.empty()) {
    scratch->wide.Reserve(kBlockRows * hidden * sizeof(float));
    out = scratch->wide.As<float>();
  }
  matrix.Multiply(options_.gemm, options_.compute, packed, rows, x, matrix.depth(), out, hidden,
                  /*add=*/norm.empty());
  for (int64_t i = 0; i < rows; ++i) {
    if (!bias.empty()) kernels.add(out + i * hidden, bias.data(), hidden);
    if (norm.empty()) continue;
    kernels.rms_norm(out + i * hidden, norm.data(), hidden, config_.rms_norm_eps, Compute::kF32, out + i * hidden);
    kernels.add(residual + i * hidden, out + i * hidden, hidden);
  }
}

void Decoder::OutputAndMlp(int64_t index, int64_t first, int64_t rows, Scratch* scratch) {
  const DecoderLayer& layer = layers_[index];
  const KernelTable& kernels = Kernels();
  const Compute compute = options_.compute;
  const int64_t bytes = BytesOf(compute);
  const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
  float* const residual = residual_.As<float>() + first * hidden;
  AddProduct(layer.output, packed_output_.As<void>(), layer.output_bias, layer.attended_norm,
             attended_.As<char>() + first * layer.output.depth() * bytes, rows, residual, scratch);
  scratch->x.Reserve(kBlockRows * hidden * bytes);
  char* const x = scratch->x.As<char>();
  for (int64_t i = 0; i < rows; ++i) {
    kernels.rms_norm(residual + i * hidden, layer.mlp_norm.data(), hidden, config_.rms_norm_eps, compute,
                     x + i * hidden * bytes);
  }

  scratch->act.Reserve(kBlockRows * inner * bytes);
  scratch->gate.Reserve(kBlockRows * kBlockColumns * sizeof(float));
  scratch->up.Reserve(kBlockRows * kBlockColumns * sizeof(float));
  char* const act = scratch->act.As<char>();
  float* const gate = scratch->gate.As<float>();
  float* const up = scratch->up.As<float>();
  const auto activate = config_.activation == Activation::kSilu ? kernels.swiglu : kernels.geglu;
  for (int64_t block = 0; block < layer.gate.blocks(); ++block) {
    const int64_t column = block * kBlockColumns, columns = layer.gate.block_columns(block);
    options_.gemm(rows, columns, hidden, x, hidden, layer.gate.block(compute, packed_gate_.As<void>(), block),
                  kBlockColumns, gate, kBlockColumns, false);
    options_.gemm(rows, columns, hidden, x, hidden, layer.up.block(compute, packed_up_.As<void>(), block),
                  kBlockColumns, up, kBlockColumns, false);
    for (int64_t i = 0; i < rows; ++i) {
      float* const g = gate + i * kBlockColumns;
      float* const u = up + i * kBlockColumns;
      if (!layer.gate_bias.empty()) {
        kernels.add(g, layer.gate_bias.data() + column, columns);
        kernels.add(u, layer.up_bias.data() + column, columns);
      }
      activate(g, u, columns, compute, act + (i * inner + column) * bytes);
    }
  }
  AddProduct(layer.down, packed_down_.As<void>(), layer.down_bias, layer.mlp_out_norm, act, rows, residual, scratch);
}

}  // namespace editd::nn
