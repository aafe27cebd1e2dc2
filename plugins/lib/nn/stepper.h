// Decoding: one more token of each of a few sequences, and the logits that follow.
//
// A step reads every weight once and computes little, so memory sets its pace: matrices are walked where they lie, some
// rows at a time by whichever thread is free, with the plain vector kernels, which stream as fast as the memory gives.
// The threads meet five times a layer, at a barrier that spins for a while before it sleeps. Each keeps the residual
// stream for itself, so nobody waits for a sum that another makes.
//
// The layers are the decoder's own (DecoderLayer), with all that a family's config can say. A sequence's logits have
// the same bits whatever steps beside it and on however many threads. They are not those of Decoder::Run to the last
// bit: the products come from another kernel.
//
// Where a device computes, a step is a run of it.
//
// Thread-compatible; between steps a cache may be used elsewhere.
#ifndef EDITD_PLUGINS_LIB_NN_STEPPER_H_
#define EDITD_PLUGINS_LIB_NN_STEPPER_H_

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "plugins/lib/nn/decoder.h"

namespace editd::nn {

class Stepper {
 public:
  // Logits are those of the head's first `rows` rows: rows after them are padding. The decoder must outlive this.
  // Threads: 0 means the decoder's, or one if the layers are so small that meeting would take longer than the work.
  Stepper(const Decoder* decoder, int64_t rows, int threads = 0);

  struct Entry {
    int32_t token;
    KeyValueCache* cache;  // Goes on by one position. No two entries share one.
  };
  // entries.size() x rows() logits, at most kBlockRows entries. INVALID_ARGUMENT if an id has no row.
  absl::Status Step(std::span<const Entry> entries, float* logits);
  // The logits of final hidden states, as Run gives them: what follows a prompt.
  absl::Status Logits(std::span<const void* const> hidden, float* logits);

  int64_t rows() const { return rows_; }

 private:
  // Waits until all threads of the step are there.
  class Barrier;
  struct Own;  // A thread's.

  absl::Status StepOnDevice(std::span<const Entry> entries, float* logits);
  void Work(std::span<const Entry> entries, float* logits, Own* own, Barrier* barrier);
  void Attend(const Entry& entry, int64_t row, int64_t layer, int64_t kv_head, Own* own);
  void NormedAdd(const std::vector<float>& bias, const std::vector<float>& norm, int64_t count, Own* own);
  void Product(const WeightMatrix& matrix, int64_t count, const void* x, float* y, int64_t ldy, int phase, Own* own);
  void Head(int64_t count, const void* x, float* logits, int phase, Own* own);
  // The next piece of a phase that nobody has taken.
  int64_t Take(int phase) { return taken_[phase].fetch_add(1, std::memory_order_relaxed); }

  const Decoder& decoder_;
  const BlockGemm gemm_;
  const int threads_;
  const int64_t rows_;
  Rotations rotations_;
  std::vector<std::atomic<int64_t>> taken_;                // By phase.
  std::vector<std::vector<const RotationTable*>> tables_;  // By entry and rope.
  Buffer wide_;                                            // entries x (queries, keys, values), float32
  Buffer attended_;                                        // entries x (heads * head_dim), compute type
  Buffer act_;                                             // entries x inner, compute type
  Buffer out_;                                             // entries x hidden, float32
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_STEPPER_H_
