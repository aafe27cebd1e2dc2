// Keys and values of one sequence in one layer, laid out as the products of attention read them.
//
// For each key head: keys as head_dim x capacity (positions side by side), values as capacity x head_dim; for bf16
// neighbours of the summed dimension are paired, as BlockGemm wants its right operand. A sequence may grow: what is
// there stays where a product finds it, in a new buffer if need be.
//
// Thread-compatible; different positions may be put by different threads.
#ifndef EDITD_PLUGINS_LIB_NN_KEY_VALUES_H_
#define EDITD_PLUGINS_LIB_NN_KEY_VALUES_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "plugins/lib/nn/buffer.h"
#include "plugins/lib/nn/config.h"
#include "plugins/lib/nn/kernels.h"

namespace editd::nn {

class KeyValues {
 public:
  // Room for positions [0, length), of which the first `kept` stay and the rest are to be put. Behind them values
  // become zero up to a multiple of 32: products go so far, and what stands there must be a number.
  void Prepare(const DecoderConfig& config, Compute compute, int64_t kept, int64_t length);

  // Takes key and value (head_dim floats each, which may be spoiled) of a position.
  void Put(int64_t head, int64_t position, float* key, float* value);

  const void* keys(int64_t head) const { return keys_.As<char>() + head * dim_ * stride_ * BytesOf(compute_); }
  const void* values(int64_t head) const { return values_.As<char>() + head * capacity_ * dim_ * BytesOf(compute_); }
  int64_t key_stride() const { return stride_; }
  int64_t bytes() const { return static_cast<int64_t>(keys_.size() + values_.size()); }

 private:
  Compute compute_ = Compute::kF32;
  int64_t heads_ = 0, dim_ = 0;
  int64_t capacity_ = 0;
  int64_t stride_ = 0;  // Columns between rows of keys: an odd number of cache lines, so that rows share no sets.
  Buffer keys_, values_;
};

// Keys and values that lie on another device (device.h).
struct DeviceCache {
  virtual ~DeviceCache() = default;
};

// What a sequence leaves behind for the tokens that follow it.
struct KeyValueCache {
  int64_t length = 0;  // Positions that are there; may be lowered to take tokens back.
  std::vector<KeyValues> layers;
  std::unique_ptr<DeviceCache> device;  // In place of `layers`, where a device computes.
};

// What one more token takes in it.
inline int64_t CacheBytesPerToken(const DecoderConfig& config, Compute compute) {
  return 2 * config.layers * config.kv_heads * config.head_dim * BytesOf(compute);
}

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_KEY_VALUES_H_
