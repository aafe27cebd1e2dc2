// Script leak as a part of the plugin's job: what it finds wrong in a spec, which rows it wants summed up, and what it
// adds to the result.
#ifndef EDITD_PLUGINS_EVALUATE_LEAK_JOBS_H_
#define EDITD_PLUGINS_EVALUATE_LEAK_JOBS_H_

#include <editd/plugin.hpp>
#include <vector>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/measure.h"

namespace editd::evaluate {

void CheckLeak(const plugins::evaluate::v1::EvaluateSpec& spec, Job& job);

// Sets the subjects' marked rows.
absl::Status MarkLeak(const plugins::evaluate::v1::EvaluateSpec& spec, std::vector<Subject>* subjects);

// What a version writes after the spec's prompts.
absl::Status MeasureWriting(const plugins::evaluate::v1::EvaluateSpec& spec, const std::vector<Subject>& subjects,
                            Job& job, plugins::evaluate::v1::EvaluateResult* result);

// What a measurement of the spec's data says of the marked rows.
void ReportLeak(const plugins::evaluate::v1::EvaluateSpec& spec, const Measurement& measured,
                const std::vector<Subject>& subjects, plugins::evaluate::v1::LeakResult* result);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_LEAK_JOBS_H_
