// The decoder: token ids in, final hidden states out.
//
// The residual stream is float32 in both compute types, and so are norms, rotations, soft-max and the sums of every
// product; bf16 rounds only what enters a product. That is closer to the exact result than a model whose activations
// are bf16 throughout. A state depends on the tokens before it in its own sequence and on nothing else: not on the
// batch, its padding, or the number of threads, to the last bit.
//
// Work goes in chunks of 64 positions, each through a whole half of a layer while it lies in the second-level cache:
//   norm, queries, keys and values, rotation | attention, by (sequence, key head) | output, norm, MLP, and the next
// layer's first part. Two meetings of the threads a layer; nothing wider than a chunk is ever stored but the residual
// stream, queries, keys, values and what attention gives.
//
// Thread-compatible: one call of Run at a time.
#ifndef EDITD_PLUGINS_LIB_NN_DECODER_H_
#define EDITD_PLUGINS_LIB_NN_DECODER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plugins/lib/nn/block_gemm.h"
#include "plugins/lib/nn/buffer.h"
#include "plugins/lib/nn/config.h"
#include "plugins/lib/nn/kernels.h"
#include "plugins/lib/nn/weights.h"

namespace editd::nn {

struct DecoderOptions {
  Compute compute = Compute::kF32;
  int threads = 1;
  BlockGemm gemm = nullptr;  // Null: the portable one.
};

// Final hidden states (after the last norm) in the compute type: what the head multiplies.
struct HiddenStates {
  int64_t width = 0;   // hidden_size
  int64_t stride = 0;  // Rows of one sequence, its padding included.
  int64_t bytes_per_row = 0;
  Buffer data;

  const void* row(int64_t sequence, int64_t position) const {
    return data.As<char>() + (sequence * stride + position) * bytes_per_row;
  }
};

class Decoder {
 public:
  // Reads the weights. Errors name the tensor that is missing or has another shape or type.
  static absl::StatusOr<std::unique_ptr<Decoder>> Load(const DecoderConfig& config, const WeightSource& weights,
                                                       const DecoderOptions& options);

  // Runs sequences side by side, the shorter ones padded to the longest. INVALID_ARGUMENT if an id has no row.
  absl::Status Run(std::span<const std::span<const int32_t>> sequences, HiddenStates* out);

  const DecoderConfig& config() const { return config_; }
  Compute compute() const { return options_.compute; }
  int threads() const { return options_.threads; }
  BlockGemm gemm() const { return options_.gemm; }
  // The matrix that makes logits of hidden states, where it lies: vocab_size x hidden_size.
  const TensorView& head() const { return head_; }

 private:
  struct Layer {
    std::vector<float> input_norm, post_norm, query_norm, key_norm;
    std::vector<float> qkv_bias, output_bias, gate_bias, up_bias, down_bias;
    PackedMatrix qkv, output, gate, up, down;
  };
  struct Scratch {
    Buffer x, wide, gate, up, act;
  };

  explicit Decoder(const DecoderConfig& config, const DecoderOptions& options) : config_(config), options_(options) {}
  absl::Status ReadWeights(const WeightSource& weights);
  absl::Status ReadLayer(const WeightSource& weights, int64_t index, Layer* layer);
  void PrepareRotations(int64_t length);
  void Reserve(int64_t batch, int64_t length);

  void Embed(std::span<const std::span<const int32_t>> sequences, int64_t first, int64_t rows);
  void QueriesKeysValues(const Layer& layer, int64_t first, int64_t rows, Scratch* scratch);
  void Attend(int64_t sequence, int64_t kv_head, int64_t first, int64_t rows, Scratch* scratch);
  void OutputAndMlp(const Layer& layer, int64_t first, int64_t rows, Scratch* scratch);

  DecoderConfig config_;
  DecoderOptions options_;
  TensorView embedding_, head_;
  std::vector<float> final_norm_;
  std::vector<Layer> layers_;

  // Of the batch at work.
  int64_t length_ = 0;                // Positions of each sequence, padded.
  int64_t key_stride_ = 0;            // Columns between rows of a packed key matrix.
  std::vector<float> cosine_, sine_;  // position x head_dim / 2
  Buffer residual_;                   // rows x hidden, float32
  Buffer queries_;                    // rows x (heads * head_dim), compute type
  Buffer keys_;                       // (sequence, kv head): head_dim x positions, as BlockGemm's B
  Buffer values_;                     // (sequence, kv head): positions x head_dim, as BlockGemm's B
  Buffer attended_;                   // rows x (heads * head_dim), compute type
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_DECODER_H_
