// The file of questions, JSON lines, which versions compare by later: a head, then one line for each question.
//
// METRICS.md has what is in it.
#ifndef EDITD_PLUGINS_EVALUATE_QUESTION_FILE_H_
#define EDITD_PLUGINS_EVALUATE_QUESTION_FILE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/questions.h"
#include "plugins/evaluate/subject.h"

namespace editd::evaluate {

class QuestionFile {
 public:
  // `metrics`: the keys of each line that hold a number for each model, best first.
  QuestionFile(const std::vector<Subject>& subjects, const std::vector<std::string>& metrics);

  // `files`: names by Question::file. Adds the line of a question: `of` and where the question is from.
  void Add(const Question& question, const std::vector<std::string>& files, nlohmann::json of);
  const std::string& content() const { return content_; }

 private:
  std::string content_;
};

// The share of questions for which something is true, and its standard error.
plugins::evaluate::v1::Estimate ShareOf(uint64_t count, uint64_t questions);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_QUESTION_FILE_H_
