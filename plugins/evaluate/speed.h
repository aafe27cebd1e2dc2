// How fast a decoder is, and how much memory that takes: what `speed` of a spec measures (METRICS.md).
//
// Token ids are made up, always the same: a text's own tokens would not change how long a product takes. Nothing is
// sampled; the time of a step is the model's.
#ifndef EDITD_PLUGINS_EVALUATE_SPEED_H_
#define EDITD_PLUGINS_EVALUATE_SPEED_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/nn/decoder.h"

namespace editd::evaluate {

struct SpeedSettings {
  int64_t prompt = 512;  // Tokens read at once.
  int64_t tokens = 64;   // Then one after the other.
  int64_t batch = 0;     // Sequences side by side in a second measurement of these; 0: none.
  int64_t repeats = 5;
};

// One rate for each repeat, tokens a second.
struct Rates {
  std::vector<double> all;

  double best() const;
  double median() const;
};

struct Speed {
  double first_seconds = 0;  // The logits after one token, when nothing has run yet.
  Rates prefill, decode, decode_batch;
  uint64_t anonymous_bytes = 0;  // RssAnon, the largest after any repeat.
};

// `progress` after each repeat; an error ends the measurement with it. INVALID_ARGUMENT if prompt and tokens are more
// than the model's positions.
absl::StatusOr<Speed> MeasureSpeed(nn::Decoder* decoder, int64_t rows, const SpeedSettings& settings,
                                   const std::function<absl::Status(int64_t repeat)>& progress);

// Seconds since this process began; steps of 10 ms. 0 if /proc does not tell.
double ProcessSeconds();
// "AMD EPYC, 2 processors": what times are to be compared on.
std::string MachineText();

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SPEED_H_
