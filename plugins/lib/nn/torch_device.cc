#include "plugins/lib/nn/torch_device.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "plugins/lib/nn/decoder.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

using at::Tensor;

constexpr int64_t kLogitsBytes = 256 << 20;  // Of logits that are held at a time.
constexpr int64_t kHeadRows = 16384;         // Of the head's matrix that are widened at a time.
constexpr int64_t kCappedRows = 512;         // Queries whose capped scores are held at a time.

// Runs `f`, which gives a status and may throw what libtorch throws.
template <typename F>
absl::Status Guarded(F&& f) {
  try {
    const c10::InferenceMode guard;
    return f();
  } catch (const c10::OutOfMemoryError& error) {
    return absl::ResourceExhaustedError(
        StrCat("the device's memory is full; make `batch` or the context smaller: ", error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    return absl::InternalError(StrCat("libtorch: ", error.what_without_backtrace()));
  } catch (const std::exception& error) {
    return absl::InternalError(StrCat("libtorch: ", error.what()));
  }
}

c10::ScalarType TypeOf(DType dtype) {
  return dtype == DType::kF32 ? at::kFloat : dtype == DType::kBF16 ? at::kBFloat16 : at::kHalf;
}

// Keys and values of one sequence: of each layer kv_heads x room x head_dim, of which the first positions are there.
struct TorchCache : DeviceCache {
  struct Layer {
    Tensor keys, values;
  };
  std::vector<Layer> layers;
};

struct Layer {
  Tensor input_norm, mlp_norm, attended_norm, mlp_out_norm, query_norm, key_norm;
  Tensor qkv_bias, output_bias, gate_bias, up_bias, down_bias;
  Tensor qkv, output, gate, up, down;
};

class TorchDevice : public Device {
 public:
  explicit TorchDevice(c10::DeviceType type) : device_(type) {}

  absl::Status Load(const Decoder& decoder) override;
  absl::Status Run(std::span<const Part> parts, void* hidden) override;
  absl::Status ScoreTargets(const void* hidden, std::span<const int32_t> targets, int64_t rows,
                            std::span<const int32_t> marked, Score* scores, double* probability) override;
  absl::Status LogitsInto(const void* hidden, int64_t count, int64_t rows, float* out, int64_t stride) override;

 private:
  // Of a batch, for each rope: cosines and sines of each row, rows x 1 x head_dim / 2.
  struct Turn {
    Tensor cosine, sine;
  };
  // Parts side by side in attention: equally long and without a cache, or one alone.
  struct Group {
    const Part* first;
    int64_t parts;
  };

  Tensor Take(const void* data, at::IntArrayRef shape, c10::ScalarType type) const {
    // A copy first, on the device converted then.
    return at::from_blob(const_cast<void*>(data), shape, at::TensorOptions().dtype(type))
        .to(device_, type, /*non_blocking=*/false, /*copy=*/true);
  }
  Tensor Take(const TensorView& view) const { return Take(view.data, view.shape, TypeOf(view.dtype)).to(type_); }
  Tensor Take(const WeightMatrix& matrix) const {
    std::vector<Tensor> parts;
    for (const TensorView& source : matrix.sources()) parts.push_back(Take(source));
    return parts.size() == 1 ? parts[0] : at::cat(parts);
  }
  Tensor Take(const std::vector<float>& values) const {
    if (values.empty()) return Tensor();
    return Take(values.data(), {static_cast<int64_t>(values.size())}, at::kFloat);
  }
  Tensor TakeHidden(const void* hidden, int64_t count) const {
    return Take(hidden, {count, config().hidden_size}, type_);
  }

  const DecoderConfig& config() const { return decoder_->config(); }
  Tensor Norm(const Tensor& x, const Tensor& weight) const;
  // x W^T + bias in float32, of x in the compute type.
  Tensor Product(const Tensor& x, const Tensor& matrix, const Tensor& bias) const;
  std::vector<Turn> TurnsOf(std::span<const Part> parts, int64_t rows) const;
  Tensor Attention(int64_t layer, const Tensor& queries, const Tensor& keys, const Tensor& values,
                   std::span<const Part> parts);
  // Queries of a group to all keys and values that they may see, all groups x heads x positions x head_dim.
  Tensor Attend(const Tensor& queries, const Tensor& keys, const Tensor& values, int64_t start, int64_t window);
  Tensor CappedAttend(const Tensor& queries, const Tensor& keys, const Tensor& values, const Tensor& mask) const;
  // positions x keys: which may be seen. Undefined if all are; null if it is the plain triangle.
  std::optional<Tensor> MaskOf(int64_t start, int64_t length, int64_t window);
  // float32 logits over the first `rows` rows of the head.
  Tensor Logits(const Tensor& hidden, int64_t rows) const;

  const c10::Device device_;
  c10::ScalarType type_ = at::kFloat;
  const Decoder* decoder_ = nullptr;
  Tensor embedding_, head_, final_norm_;
  std::vector<Layer> layers_;
  std::map<std::tuple<int64_t, int64_t, int64_t>, Tensor> masks_;  // Of the batch at work.
};

absl::Status TorchDevice::Load(const Decoder& decoder) {
  return Guarded([&] {
    decoder_ = &decoder;
    type_ = decoder.compute() == Compute::kF32 ? at::kFloat : at::kBFloat16;
    // float32 means float32. With bf16 only the head has a product in float32, of numbers that TF32 holds.
    at::globalContext().setAllowTF32CuBLAS(type_ == at::kBFloat16);
    at::globalContext().setAllowBF16ReductionCuBLAS(false);
    embedding_ = Take(decoder.embedding());
    head_ = config().tied ? embedding_ : Take(decoder.head());
    final_norm_ = Take(decoder.final_norm());
    for (int64_t l = 0; l < config().layers; ++l) {
      const DecoderLayer& from = decoder.layer(l);
      layers_.push_back({Take(from.input_norm), Take(from.mlp_norm), Take(from.attended_norm), Take(from.mlp_out_norm),
                         Take(from.query_norm), Take(from.key_norm), Take(from.qkv_bias), Take(from.output_bias),
                         Take(from.gate_bias), Take(from.up_bias), Take(from.down_bias), Take(from.qkv),
                         Take(from.output), Take(from.gate), Take(from.up), Take(from.down)});
    }
    return absl::OkStatus();
  });
}

Tensor TorchDevice::Norm(const Tensor& x, const Tensor& weight) const {
  return x * at::rsqrt(x.square().mean(-1, /*keepdim=*/true) + config().rms_norm_eps) * weight;
}

Tensor TorchDevice::Product(const Tensor& x, const Tensor& matrix, const Tensor& bias) const {
  const Tensor y = at::linear(x, matrix).to(at::kFloat);
  return bias.defined() ? y + bias : y;
}

std::vector<TorchDevice::Turn> TorchDevice::TurnsOf(std::span<const Part> parts, int64_t rows) const {
  const int64_t half = config().head_dim / 2;
  std::vector<Turn> out;
  for (size_t rope = 0; rope < config().ropes.size(); ++rope) {
    std::vector<float> cosine, sine;
    for (const Part& part : parts) {
      const RotationTable& table = *part.rotations[rope];
      const auto append = [&](const std::vector<float>& from, std::vector<float>* to) {
        to->insert(to->end(), from.begin() + part.start * half, from.begin() + (part.start + part.length()) * half);
      };
      append(table.cosine, &cosine);
      append(table.sine, &sine);
    }
    out.push_back({Take(cosine).view({rows, 1, half}), Take(sine).view({rows, 1, half})});
  }
  return out;
}

absl::Status TorchDevice::Run(std::span<const Part> parts, void* hidden) {
  return Guarded([&] {
    std::vector<int64_t> ids;
    for (const Part& part : parts) ids.insert(ids.end(), part.ids.begin(), part.ids.end());
    const int64_t rows = static_cast<int64_t>(ids.size());
    if (rows == 0) return absl::OkStatus();
    const int64_t dim = config().head_dim, half = dim / 2;
    const int64_t query_width = config().heads * dim, kv_width = config().kv_heads * dim;
    masks_.clear();
    const std::vector<Turn> turns = TurnsOf(parts, rows);
    const auto turn = [half](const Tensor& x, const Turn& by) {
      const Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
      return at::cat({a * by.cosine - b * by.sine, b * by.cosine + a * by.sine}, -1);
    };
    Tensor residual = embedding_.index_select(0, Take(ids.data(), {rows}, at::kLong)).to(at::kFloat);
    if (decoder_->embedding_scale() != 1) residual.mul_(decoder_->embedding_scale());
    for (int64_t l = 0; l < config().layers; ++l) {
      const Layer& layer = layers_[l];
      const Tensor wide = Product(Norm(residual, layer.input_norm).to(type_), layer.qkv, layer.qkv_bias);
      Tensor queries = wide.narrow(1, 0, query_width).reshape({rows, config().heads, dim});
      Tensor keys = wide.narrow(1, query_width, kv_width).reshape({rows, config().kv_heads, dim});
      const Tensor values = wide.narrow(1, query_width + kv_width, kv_width).reshape({rows, config().kv_heads, dim});
      if (config().qk_norm) {
        queries = Norm(queries, layer.query_norm);
        keys = Norm(keys, layer.key_norm);
      }
      const Turn& by = turns[config().attention[l].rope];
      queries = turn(queries, by) * config().query_scale;
      const Tensor attended = Attention(l, queries.to(type_), turn(keys, by).to(type_), values.to(type_), parts);

      const auto add = [&](const Tensor& x, const Tensor& matrix, const Tensor& bias, const Tensor& norm) {
        const Tensor y = Product(x, matrix, bias);
        residual.add_(norm.defined() ? Norm(y, norm) : y);
      };
      add(attended, layer.output, layer.output_bias, layer.attended_norm);
      const Tensor x = Norm(residual, layer.mlp_norm).to(type_);
      const Tensor gate = Product(x, layer.gate, layer.gate_bias);
      const Tensor act = config().activation == Activation::kSilu ? at::silu(gate) : at::gelu(gate, "tanh");
      add((act * Product(x, layer.up, layer.up_bias)).to(type_), layer.down, layer.down_bias, layer.mlp_out_norm);
    }
    const Tensor out = Norm(residual, final_norm_).to(type_).cpu().contiguous();
    std::memcpy(hidden, out.const_data_ptr(), out.nbytes());
    return absl::OkStatus();
  });
}

Tensor TorchDevice::Attention(int64_t layer, const Tensor& queries, const Tensor& keys, const Tensor& values,
                              std::span<const Part> parts) {
  const int64_t window = config().attention[layer].window;
  std::vector<Tensor> out;
  for (size_t p = 0; p < parts.size();) {
    const Part& part = parts[p];
    size_t end = p + 1;
    if (part.cache == nullptr) {
      while (end < parts.size() && parts[end].cache == nullptr && parts[end].length() == part.length()) ++end;
    }
    const int64_t count = static_cast<int64_t>(end - p), length = part.length();
    p = end;
    if (length == 0) continue;
    // count x heads x positions x head_dim.
    const auto of_group = [&](const Tensor& x) {
      return x.narrow(0, part.first_row, count * length).view({count, length, x.size(1), x.size(2)}).transpose(1, 2);
    };
    Tensor k = of_group(keys), v = of_group(values);
    if (part.cache != nullptr) {
      if (part.cache->device == nullptr) part.cache->device = std::make_unique<TorchCache>();
      auto& cached = static_cast<TorchCache&>(*part.cache->device).layers;
      cached.resize(config().layers);
      const int64_t needed = part.start + length;
      const auto append = [&](const Tensor& x, Tensor* memory) {
        if (!memory->defined() || memory->size(2) < needed) {
          Tensor larger = at::empty({1, x.size(1), std::max(needed, part.start * 3 / 2 + 32), x.size(3)}, x.options());
          if (part.start > 0) larger.narrow(2, 0, part.start).copy_(memory->narrow(2, 0, part.start));
          *memory = larger;
        }
        memory->narrow(2, part.start, length).copy_(x);
        return memory->narrow(2, 0, needed);
      };
      k = append(k, &cached[layer].keys);
      v = append(v, &cached[layer].values);
    }
    const Tensor attended = Attend(of_group(queries), k, v, part.start, window);
    out.push_back(attended.transpose(1, 2).reshape({count * length, config().heads * config().head_dim}));
  }
  return out.size() == 1 ? out[0] : at::cat(out);
}

std::optional<Tensor> TorchDevice::MaskOf(int64_t start, int64_t length, int64_t window) {
  const int64_t seen = start + length;
  if (window >= seen) window = 0;
  if (window == 0 && length == 1) return Tensor();
  if (window == 0 && start == 0 && config().attention_cap == 0) return std::nullopt;
  Tensor& mask = masks_[{start, length, window}];
  if (!mask.defined()) {
    const auto options = at::TensorOptions().dtype(at::kLong).device(device_);
    const Tensor query = at::arange(start, seen, options).unsqueeze(1), key = at::arange(seen, options).unsqueeze(0);
    mask = key <= query;
    if (window > 0) mask = mask.logical_and(key > query - window);
  }
  return mask;
}

Tensor TorchDevice::Attend(const Tensor& queries, const Tensor& keys, const Tensor& values, int64_t start,
                           int64_t window) {
  const std::optional<Tensor> mask = MaskOf(start, queries.size(2), window);
  if (config().attention_cap > 0) return CappedAttend(queries, keys, values, *mask);
  const std::optional<Tensor> given = mask.has_value() && mask->defined() ? mask : std::nullopt;
  return at::scaled_dot_product_attention(queries, keys, values, given, /*dropout_p=*/0.0,
                                          /*is_causal=*/!mask.has_value(), /*scale=*/1.0,
                                          /*enable_gqa=*/config().heads != config().kv_heads);
}

Tensor TorchDevice::CappedAttend(const Tensor& queries, const Tensor& keys, const Tensor& values,
                                 const Tensor& mask) const {
  const int64_t group = config().heads / config().kv_heads;
  const Tensor k = keys.repeat_interleave(group, 1).transpose(2, 3), v = values.repeat_interleave(group, 1);
  std::vector<Tensor> out;
  for (int64_t first = 0; first < queries.size(2); first += kCappedRows) {
    const int64_t count = std::min(kCappedRows, queries.size(2) - first);
    Tensor scores = at::matmul(queries.narrow(2, first, count), k).to(at::kFloat);
    scores = at::tanh(scores / config().attention_cap) * config().attention_cap;
    if (mask.defined()) scores.masked_fill_(mask.narrow(0, first, count).logical_not(), -INFINITY);
    out.push_back(at::matmul(at::softmax(scores, -1).to(type_), v));
  }
  return at::cat(out, 2);
}

Tensor TorchDevice::Logits(const Tensor& hidden, int64_t rows) const {
  const Tensor x = hidden.to(at::kFloat);
  Tensor out = at::empty({x.size(0), rows}, x.options());
  for (int64_t first = 0; first < rows; first += kHeadRows) {
    const int64_t count = std::min(kHeadRows, rows - first);
    out.narrow(1, first, count).copy_(at::linear(x, head_.narrow(0, first, count).to(at::kFloat)));
  }
  const double cap = config().logit_cap;
  return cap > 0 ? at::tanh(out / cap) * cap : out;
}

absl::Status TorchDevice::ScoreTargets(const void* hidden, std::span<const int32_t> targets, int64_t rows,
                                       std::span<const int32_t> marked, Score* scores, double* probability) {
  return Guarded([&] {
    const int64_t all = static_cast<int64_t>(targets.size());
    const Tensor x = TakeHidden(hidden, all);
    const std::vector<int64_t> wide(targets.begin(), targets.end()), of_mass(marked.begin(), marked.end());
    const Tensor target = Take(wide.data(), {all, 1}, at::kLong);
    const Tensor columns = Take(of_mass.data(), {static_cast<int64_t>(of_mass.size())}, at::kLong);
    const int64_t chunk = std::max<int64_t>(1, kLogitsBytes / (rows * static_cast<int64_t>(sizeof(float))));
    for (int64_t first = 0; first < all; first += chunk) {
      const int64_t count = std::min(chunk, all - first);
      const Tensor logits = Logits(x.narrow(0, first, count), rows);
      const Tensor sum = at::logsumexp(logits, -1);
      const Tensor at_target = logits.gather(1, target.narrow(0, first, count)).squeeze(1);
      const Tensor both = at::stack({sum, at_target}).cpu();
      const auto value = both.accessor<float, 2>();
      for (int64_t i = 0; i < count; ++i) {
        scores[first + i] = {static_cast<double>(value[0][i]) - value[1][i], value[0][i]};
      }
      if (probability == nullptr) continue;
      if (marked.empty()) {
        std::fill_n(probability + first, count, 0.0);
        continue;
      }
      const Tensor mass = at::exp(at::logsumexp(logits.index_select(1, columns), -1) - sum).cpu();
      for (int64_t i = 0; i < count; ++i) probability[first + i] = mass.const_data_ptr<float>()[i];
    }
    return absl::OkStatus();
  });
}

absl::Status TorchDevice::LogitsInto(const void* hidden, int64_t count, int64_t rows, float* out, int64_t stride) {
  return Guarded([&] {
    const Tensor x = TakeHidden(hidden, count);
    const int64_t chunk = std::max<int64_t>(1, kLogitsBytes / (rows * static_cast<int64_t>(sizeof(float))));
    for (int64_t first = 0; first < count; first += chunk) {
      const int64_t positions = std::min(chunk, count - first);
      const Tensor logits = Logits(x.narrow(0, first, positions), rows).cpu().contiguous();
      for (int64_t i = 0; i < positions; ++i) {
        std::memcpy(out + (first + i) * stride, logits.const_data_ptr<float>() + i * rows, rows * sizeof(float));
      }
    }
    return absl::OkStatus();
  });
}

}  // namespace

std::unique_ptr<Device> MakeTorchDevice(DeviceKind kind) {
  return std::make_unique<TorchDevice>(kind == DeviceKind::kCuda ? c10::DeviceType::CUDA : c10::DeviceType::CPU);
}

}  // namespace editd::nn
