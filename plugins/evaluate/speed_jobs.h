// The measurement `speed` as a job has it: spec in, result out.
#ifndef EDITD_PLUGINS_EVALUATE_SPEED_JOBS_H_
#define EDITD_PLUGINS_EVALUATE_SPEED_JOBS_H_

#include <vector>

#include "editd/plugin.hpp"
#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/subject.h"

namespace editd::evaluate {

// What a job's beginning took, before there is a decoder to measure.
struct StartTimes {
  double start_seconds = 0;          // From the process's start until the plugin was called.
  double products_seconds = 0;       // Loading libtorch.
  std::vector<double> load_seconds;  // Of each input.
};

void CheckSpeed(const plugins::evaluate::v1::EvaluateSpec& spec, Job& job);
// The first that runs on the subjects: it measures what the first logits take.
absl::Status MeasureSpeeds(const plugins::evaluate::v1::EvaluateSpec& spec, const std::vector<Subject>& subjects,
                           const StartTimes& times, Job& job, plugins::evaluate::v1::EvaluateResult* result);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SPEED_JOBS_H_
