#include "plugins/evaluate/question_file.h"

#include "plugins/evaluate/statistics.h"

namespace editd::evaluate {
namespace {

using Json = nlohmann::json;

std::string Line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"; }

}  // namespace

QuestionFile::QuestionFile(const std::vector<Subject>& subjects, const std::vector<std::string>& metrics) {
  Json head = {{"format", "editd questions 1"}, {"models", Json::array()}, {"metrics", metrics}};
  for (const Subject& subject : subjects) head["models"].push_back({{"version", subject.version}});
  content_ = Line(head);
}

void QuestionFile::Add(const Question& question, const std::vector<std::string>& files, Json of) {
  of["file"] = files[question.file];
  of["line"] = question.line;
  of["choices"] = question.choices.size();
  of["answer"] = std::string(1, LetterOf(question.answer));
  content_ += Line(of);
}

plugins::evaluate::v1::Estimate ShareOf(uint64_t count, uint64_t questions) {
  const auto sum = static_cast<double>(count);
  return MeanOf(sum, sum, static_cast<double>(questions));
}

}  // namespace editd::evaluate
