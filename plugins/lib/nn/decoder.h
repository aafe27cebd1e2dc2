// The decoder: token ids in, final hidden states out.
//
// The residual stream is float32 in both compute types, and so are norms, rotations, soft-max and the sums of every
// product; bf16 rounds only what enters a product. That is closer to the exact result than a model whose activations
// are bf16 throughout. A state depends on the tokens before it in its own sequence and on nothing else: not on the
// batch, the number of threads, or whether the sequence ran at once or in parts, to the last bit. (One exception, by
// its definition: rope of type `dynamic` beyond the model's context, see rope.h.)
//
// The positions of all sequences stand one behind the other, and work goes in chunks of 64 of them, each through a
// whole half of a layer while it lies in the second-level cache:
//   norm, queries, keys and values, rotation | attention, by (sequence, key head, 64 positions) | output, norm, MLP,
//   and
// the next layer's first part. Two meetings of the threads a layer; nothing wider than a chunk is ever stored but the
// residual stream, queries, keys, values and what attention gives.
//
// Weights are read where they lie. Products of many rows want them packed (block_gemm.h): the matrices of the next two
// halves are packed beside attention, which needs none, always into the same memory.
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
#include "plugins/lib/nn/attention.h"
#include "plugins/lib/nn/block_gemm.h"
#include "plugins/lib/nn/buffer.h"
#include "plugins/lib/nn/config.h"
#include "plugins/lib/nn/device.h"
#include "plugins/lib/nn/kernels.h"
#include "plugins/lib/nn/key_values.h"
#include "plugins/lib/nn/rope.h"
#include "plugins/lib/nn/weights.h"

namespace editd::nn {

struct DecoderOptions {
  Compute compute = Compute::kF32;
  int threads = 1;
  BlockGemm gemm = nullptr;  // Null: the portable one.
};

// Weights of a layer. Norms are what is multiplied with: 1 + weight where the family has it so. A norm, bias or matrix
// that the model does not have is empty.
struct DecoderLayer {
  std::vector<float> input_norm, mlp_norm;         // Before attention, before the MLP.
  std::vector<float> attended_norm, mlp_out_norm;  // On what they give (output_norms).
  std::vector<float> query_norm, key_norm;
  std::vector<float> qkv_bias, output_bias, gate_bias, up_bias, down_bias;
  WeightMatrix qkv, output, gate, up, down;
};

// Final hidden states (after the last norm) in the compute type: what the head multiplies.
struct HiddenStates {
  int64_t width = 0;           // hidden_size
  std::vector<int64_t> first;  // Of each sequence: its first row.
  int64_t bytes_per_row = 0;
  Buffer data;

  // `position` counts from the first token of the call, not from what a cache held before.
  const void* row(int64_t sequence, int64_t position) const {
    return data.As<char>() + (first[sequence] + position) * bytes_per_row;
  }
};

class Decoder {
 public:
  // Looks the weights up and reads norms and biases; matrices stay where they are and must outlive the decoder. Errors
  // name the tensor that is missing or has another shape or type.
  static absl::StatusOr<std::unique_ptr<Decoder>> Load(const DecoderConfig& config, const WeightSource& weights,
                                                       const DecoderOptions& options);

  // From here on `device` computes, with a copy of the weights.
  absl::Status MoveTo(std::unique_ptr<Device> device);

  // Runs sequences side by side. INVALID_ARGUMENT if an id has no row.
  absl::Status Run(std::span<const std::span<const int32_t>> sequences, HiddenStates* out) {
    return Run(sequences, {}, out);
  }
  // The same, each sequence going on where its cache ends; the cache then has its keys and values too. `caches` is
  // empty or has one for each sequence, which may be null; none occurs twice.
  absl::Status Run(std::span<const std::span<const int32_t>> sequences, std::span<KeyValueCache* const> caches,
                   HiddenStates* out);

  const DecoderConfig& config() const { return config_; }
  Compute compute() const { return options_.compute; }
  int threads() const { return options_.threads; }
  BlockGemm gemm() const { return options_.gemm; }
  // Null: the processor.
  Device* device() const { return device_.get(); }
  // The matrix that makes logits of hidden states: vocab_size x hidden_size.
  const WeightMatrix& head() const { return head_; }
  const DecoderLayer& layer(int64_t i) const { return layers_[i]; }
  const std::vector<float>& final_norm() const { return final_norm_; }
  const TensorView& embedding() const { return embedding_; }
  float embedding_scale() const { return embedding_scale_; }
  // Writes the residual stream's first state of a token: hidden_size floats.
  void Embed(int32_t id, float* out) const;

 private:
  struct Scratch {
    Buffer x, wide, gate, up, act;
  };
  // A block to pack, and where to.
  struct Packing {
    const WeightMatrix* matrix;
    int64_t block;
    void* out;
  };
  struct Row {
    int32_t part = -1;  // None: padding.
    int64_t position = 0;
  };

  explicit Decoder(const DecoderConfig& config, const DecoderOptions& options) : config_(config), options_(options) {}
  absl::Status ReadWeights(const WeightSource& weights);
  absl::Status ReadNorm(const WeightSource& weights, const std::string& name, int64_t size,
                        std::vector<float>* out) const;
  absl::Status ReadLayer(const WeightSource& weights, const std::string& prefix, DecoderLayer* layer);

  absl::Status Lay(std::span<const std::span<const int32_t>> sequences, std::span<KeyValueCache* const> caches);
  void MakeRoom();
  void RunHere(HiddenStates* out);
  KeyValues& MemoryOf(int64_t part, int64_t layer);
  // The blocks of layer `index`'s output and MLP, and of the next one's queries, keys and values; -1: the latter alone.
  std::vector<Packing> PackingsOf(int64_t index);
  void QueriesKeysValues(int64_t layer, int64_t first, int64_t rows, Scratch* scratch);
  void OutputAndMlp(int64_t layer, int64_t first, int64_t rows, Scratch* scratch);
  // residual += x W^T + bias, which is normed before it is added if there is a norm.
  void AddProduct(const WeightMatrix& matrix, const void* packed, const std::vector<float>& bias,
                  const std::vector<float>& norm, const void* x, int64_t rows, float* residual, Scratch* scratch);

  DecoderConfig config_;
  DecoderOptions options_;
  TensorView embedding_;
  WeightMatrix head_;
  float embedding_scale_ = 1;
  std::vector<float> final_norm_;
  std::vector<DecoderLayer> layers_;
  Rotations rotations_;
  std::unique_ptr<Device> device_;

  // Of the batch at work.
  std::vector<Part> parts_;
  std::vector<Row> rows_;
  std::vector<KeyValues> memories_;  // Of sequences without a cache, for the layer at work.
  Buffer residual_;                  // rows x hidden, float32
  Buffer queries_;                   // rows x (heads * head_dim), compute type
  Buffer attended_;                  // rows x (heads * head_dim), compute type
  // Of the layer at work, packed.
  Buffer packed_qkv_, packed_output_, packed_gate_, packed_up_, packed_down_;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_DECODER_H_
