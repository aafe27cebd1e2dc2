// What a job measured of each document or question, as its files keep it: JSON lines, a head and then one line for
// each.
//
// The plugin's page, plugins/evaluate/METRICS.md, has what is in them. Functions of their arguments.
#ifndef EDITD_CLIENT_MEASURED_H_
#define EDITD_CLIENT_MEASURED_H_

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/paired.h"

namespace editd::client {

inline constexpr char kMeasuredDocuments[] = "measured-documents.jsonl";
// Names of files that hold questions; what they are, for people.
inline constexpr const char* kMeasuredQuestions[][2] = {{"measured-choices.jsonl", "multiple choice"},
                                                        {"measured-answers.jsonl", "generated answers"}};

bool IsMeasuredFile(std::string_view name);

struct MeasuredFile {
  nlohmann::json head;
  std::vector<nlohmann::json> lines;
};

// DATA_LOSS, without a place, if it is none of these files.
absl::StatusOr<MeasuredFile> ParseMeasured(std::string_view content);

// Entry `i` of a line's list `key`: a model's number; 0 if there is none.
double EntryOf(const nlohmann::json& line, const std::string& key, size_t i);

// One metric of the same questions, asked of two versions.
struct QuestionDifference {
  std::string metric;
  PairedDifference paired;
  // Questions for which the metric is not the same, by line of the files.
  std::vector<size_t> changed;
};

// FAILED_PRECONDITION if the questions are not the same. `input`: which of its file's models each is.
absl::StatusOr<std::vector<QuestionDifference>> CompareQuestions(const MeasuredFile files[2], const size_t input[2]);

}  // namespace editd::client

#endif  // EDITD_CLIENT_MEASURED_H_
