// The measurements that ask questions, as parts of the plugin's job: what they find wrong in a spec, and what they add
// to the result and to the job's files.
#ifndef EDITD_PLUGINS_EVALUATE_QUESTION_JOBS_H_
#define EDITD_PLUGINS_EVALUATE_QUESTION_JOBS_H_

#include <editd/plugin.hpp>
#include <vector>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/job_checkpoint.h"
#include "plugins/evaluate/subject.h"

namespace editd::evaluate {

inline constexpr char kChoicesFile[] = "measured-choices.jsonl";
inline constexpr char kAnswersFile[] = "measured-answers.jsonl";

void CheckQuestions(const plugins::evaluate::v1::EvaluateSpec& spec, Job& job);

absl::Status MeasureMultipleChoice(const plugins::evaluate::v1::EvaluateSpec& spec,
                                   const std::vector<Subject>& subjects, Job& job, JobCheckpoint* checkpoint,
                                   plugins::evaluate::v1::EvaluateResult* result);

absl::Status MeasureAnswers(const plugins::evaluate::v1::EvaluateSpec& spec, const std::vector<Subject>& subjects,
                            Job& job, plugins::evaluate::v1::EvaluateResult* result);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_QUESTION_JOBS_H_
