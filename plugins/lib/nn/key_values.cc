#include "plugins/lib/nn/key_values.h"

#include <algorithm>
#include <cstring>

namespace editd::nn {
namespace {

constexpr int64_t kStep = 32;  // Products over positions go by multiples of this.

}  // namespace

void KeyValues::Prepare(const DecoderConfig& config, Compute compute, int64_t kept, int64_t length) {
  const int64_t heads = config.kv_heads, dim = config.head_dim, bytes = BytesOf(compute);
  int64_t needed = (length + kStep - 1) / kStep * kStep;
  if (kept == 0) {
    compute_ = compute, heads_ = heads, dim_ = dim;
    capacity_ = needed;
    stride_ = capacity_ + 16;
    keys_.Reserve(heads * dim * stride_ * bytes);
    values_.Reserve(heads * capacity_ * dim * bytes);
  } else if (needed > capacity_) {
    needed = std::max(needed, capacity_ * 3 / 2 / kStep * kStep);
    Buffer keys(heads * dim * (needed + 16) * bytes), values(heads * needed * dim * bytes);
    const int64_t lines = heads * dim * bytes / 4;  // Rows of keys, in 32-bit units.
    for (int64_t i = 0; i < lines; ++i) {
      std::memcpy(keys.As<char>() + i * (needed + 16) * 4, keys_.As<char>() + i * stride_ * 4, kept * 4);
    }
    for (int64_t h = 0; h < heads; ++h) {
      std::memcpy(values.As<char>() + h * needed * dim * bytes, this->values(h), (kept + 1) / 2 * 2 * dim * bytes);
    }
    keys_ = std::move(keys);
    values_ = std::move(values);
    capacity_ = needed;
    stride_ = capacity_ + 16;
  }
  const int64_t end = (length + kStep - 1) / kStep * kStep;
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t t = length; t < end; ++t) {
      if (compute == Compute::kF32) {
        float* const row = values_.As<float>() + (h * capacity_ + t) * dim;
        std::fill(row, row + dim, 0.0f);
      } else {
        uint16_t* const pair = values_.As<uint16_t>() + (h * capacity_ + t / 2 * 2) * dim + t % 2;
        for (int64_t d = 0; d < dim; ++d) pair[d * 2] = 0;
      }
    }
  }
}

void KeyValues::Put(int64_t head, int64_t position, float* key, float* value) {
  const KernelTable& kernels = Kernels();
  if (compute_ == Compute::kF32) {
    float* const keys = keys_.As<float>() + head * dim_ * stride_ + position;
    for (int64_t d = 0; d < dim_; ++d) keys[d * stride_] = key[d];
    std::copy(value, value + dim_, values_.As<float>() + (head * capacity_ + position) * dim_);
    return;
  }
  const int64_t half = dim_ / 2;
  uint32_t* const keys = keys_.As<uint32_t>() + head * half * stride_ + position;
  kernels.convert(key, 1.0f, dim_, compute_, key);
  const uint32_t* const units = reinterpret_cast<const uint32_t*>(key);
  for (int64_t d = 0; d < half; ++d) keys[d * stride_] = units[d];
  uint16_t* const values = values_.As<uint16_t>() + (head * capacity_ + position / 2 * 2) * dim_ + position % 2;
  kernels.convert(value, 1.0f, dim_, compute_, value);
  const uint16_t* const shorts = reinterpret_cast<const uint16_t*>(value);
  for (int64_t d = 0; d < dim_; ++d) values[d * 2] = shorts[d];
}

}  // namespace editd::nn
