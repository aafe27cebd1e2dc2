// A device that a decoder computes on instead of the processor.
//
// The decoder reads and checks a model, lays out batches and scores what comes back; a device has a copy of the weights
// and does the arithmetic between token ids and hidden states, and between those and logits. Hidden states pass through
// the processor's memory: a row of them is small beside what it costs. Keys and values stay on the device. The one
// implementation is libtorch's (torch_device.h), which the decoder reaches through this interface alone: a plugin that
// computes on the processor never loads it.
//
// Thread-compatible: one call at a time.
#ifndef EDITD_PLUGINS_LIB_NN_DEVICE_H_
#define EDITD_PLUGINS_LIB_NN_DEVICE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "plugins/lib/nn/key_values.h"
#include "plugins/lib/nn/rope.h"

namespace editd::nn {

class Decoder;

// A sequence of a batch. Positions of all sequences stand one behind the other.
struct Part {
  std::span<const int32_t> ids;
  int64_t first_row;                            // Of the batch.
  int64_t start;                                // Positions before, from its cache.
  KeyValueCache* cache;                         // May be null.
  std::vector<const RotationTable*> rotations;  // Of each of the config's ropes.

  int64_t length() const { return static_cast<int64_t>(ids.size()); }
};

// What the logits of a position say of the token that followed.
struct Score {
  double nll;          // -ln p(target), nats.
  double log_sum_exp;  // Of the position's logits over the rows that count.
};

// All of these: RESOURCE_EXHAUSTED if the device's memory is full, INTERNAL if it failed.
class Device {
 public:
  virtual ~Device() = default;

  // Takes the decoder's weights, in its compute type. The decoder must outlive this.
  virtual absl::Status Load(const Decoder& decoder) = 0;

  // What Decoder::Run says, for parts whose ids are checked. `hidden`: final hidden states in the compute type, rows x
  // hidden_size. Appends to the parts' caches, and leaves their lengths to the caller.
  virtual absl::Status Run(std::span<const Part> parts, void* hidden) = 0;

  // What head.h says of the same names, for `count` hidden states one after the other.
  virtual absl::Status ScoreTargets(const void* hidden, std::span<const int32_t> targets, int64_t rows,
                                    std::span<const int32_t> marked, Score* scores, double* probability) = 0;
  virtual absl::Status LogitsInto(const void* hidden, int64_t count, int64_t rows, float* out, int64_t stride) = 0;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_DEVICE_H_
