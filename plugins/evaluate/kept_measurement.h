// What a job's measurements had done when it was stopped, as bytes of its checkpoint, and back.
//
// Of texts:
//   u64 windows, u64 tokens of all     What it is a measurement of.
//   u64 block, u64 done, u64 running tokens, f64 running nll
//   for each subject:  all(Scores of a document)  f64 nll squares, weighted, weights, seconds  u64 computed tokens
//   with two subjects: LogitsSums  DivergenceSums
//   for each window of the block that is done, up to the end:
//     u64 place in the block  for each subject all(Scored)  all(nn::PairScore)
//
// Of questions:
//   for each subject:  u64 computed tokens, f64 seconds, u64 questions done
//     for each of these: u64 question  all(f64 log-likelihood of a choice)
//
// all() is a count, u64, and so many; numbers and structs as they lie in memory (kept.h).
#ifndef EDITD_PLUGINS_EVALUATE_KEPT_MEASUREMENT_H_
#define EDITD_PLUGINS_EVALUATE_KEPT_MEASUREMENT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "plugins/evaluate/choices.h"
#include "plugins/evaluate/measure.h"
#include "plugins/lib/nn/compare.h"

namespace editd::evaluate {

// What a scored token and its position give.
struct Scored {
  double nll = 0, outside = 0;
};

// Of a window.
struct WindowScores {
  std::vector<Scored> scored[2];     // Of the scored tokens, in order.
  std::vector<nn::PairScore> pairs;  // By meeting.
};

struct MeasuredSoFar {
  uint64_t block_first = 0;     // The first window of the block at work.
  uint64_t done = 0;            // Tokens, of that block's windows too.
  uint64_t running_tokens = 0;  // The base's, likewise.
  double running_nll = 0;
  Measurement result;  // Sums over the windows before block_first.
};

// What is measured: a kept measurement of anything else is refused.
struct MeasurementShape {
  struct OfWindow {
    uint64_t scored[2], pairs;
  };
  uint64_t windows = 0, tokens = 0;
  std::function<OfWindow(uint64_t window)> of_window;
};

void KeepSums(const MeasurementShape& shape, const MeasuredSoFar& so_far, KeptWriter* out);
// `place`: of the window in its block.
void KeepWindow(uint64_t place, size_t subjects, const WindowScores& scores, KeptWriter* out);

// `so_far` has its subjects, documents and perhaps its diff, all of which must be there. False: the bytes are of
// something else, or broken; both outputs are then to be thrown away. `windows` by place in the block.
bool RestoreMeasurement(std::string_view bytes, const MeasurementShape& shape, MeasuredSoFar* so_far,
                        std::map<uint64_t, WindowScores>* windows);

void KeepChoices(std::span<const ChoicesSoFar> subjects, KeptWriter* out);
// `choices`: how many each question has. `subjects` as many as there are, empty. False: as above.
bool RestoreChoices(std::string_view bytes, std::span<const uint64_t> choices, std::span<ChoicesSoFar> subjects);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_KEPT_MEASUREMENT_H_
