#include "plugins/evaluate/question_jobs.h"

#include <algorithm>
#include <optional>

#include "plugins/evaluate/answer_letter.h"
#include "plugins/evaluate/answers.h"
#include "plugins/evaluate/choices.h"
#include "plugins/evaluate/kept_measurement.h"
#include "plugins/evaluate/question_file.h"
#include "plugins/evaluate/questions.h"
#include "plugins/evaluate/stopwatch.h"
#include "plugins/lib/nn/model_weights.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;
using nlohmann::json;

constexpr char kChoicePrompt[] = "Question: {question}\nAnswer:";
constexpr char kAnswerPrompt[] = "Câu hỏi: {question}\n{choices}\nChỉ trả lời bằng chữ cái của đáp án đúng.\nĐáp án:";
constexpr uint32_t kAnswerTokens = 32, kMostAnswerTokens = 1 << 16;
constexpr ChoiceNorm kNorms[] = {ChoiceNorm::kNone, ChoiceNorm::kCharacters, ChoiceNorm::kBytes, ChoiceNorm::kTokens};
const char* const kNormNames[] = {"acc", "acc_norm", "acc_bytes", "acc_tokens"};

std::string_view Or(const std::string& text, std::string_view otherwise) {
  return text.empty() ? otherwise : std::string_view(text);
}

void CheckSource(const std::string& where, const pb::Questions& questions, const std::string& prompt, Job& job) {
  if (questions.path_size() == 0) {
    job.Finding(StrCat(where, ".questions.path"), "no questions; name JSON lines: questions { path: \"q.jsonl\" }");
  }
  for (int i = 0; i < questions.path_size(); ++i) {
    if (questions.path(i).empty()) {
      job.Finding(StrCat(where, ".questions.path[", i, "]"), "is empty; name a file of JSON lines");
    }
  }
  if (!pb::AnswerForm_IsValid(questions.answer_form())) {
    job.Finding(StrCat(where, ".questions.answer_form"), "is not a form that is known");
  }
  const auto parsed = PromptTemplate::Parse(prompt);
  if (!parsed.ok()) job.Finding(StrCat(where, ".prompt"), ToStd(parsed.status().message()));
}

AnswerForm FormOf(pb::AnswerForm form) {
  switch (form) {
    case pb::ANSWER_FORM_INDEX:
      return AnswerForm::kIndex;
    case pb::ANSWER_FORM_LETTER:
      return AnswerForm::kLetter;
    case pb::ANSWER_FORM_TEXT:
      return AnswerForm::kText;
    default:
      return AnswerForm::kByContent;
  }
}

struct Asked {
  std::vector<Question> questions;
  std::vector<std::string> files;  // By Question::file.

  std::string Place(const Question& question) const {
    return StrCat("\"", files[question.file], "\" line ", question.line);
  }
};

// `where`: the field of the spec, for messages.
absl::StatusOr<Asked> ReadQuestions(const std::string& where, const pb::Questions& source, std::string_view prompt,
                                    Job& job, pb::QuestionsRead* read) {
  QuestionForm form;
  form.question_field = Or(source.question_field(), form.question_field);
  form.choices_field = Or(source.choices_field(), form.choices_field);
  form.choices_named = !source.choices_field().empty();
  form.answer_field = Or(source.answer_field(), form.answer_field);
  form.answer = FormOf(source.answer_form());
  ASSIGN_OR_RETURN(form.prompt, PromptTemplate::Parse(prompt));
  read->set_question_field(form.question_field);
  read->set_choices_field(form.choices_field);
  read->set_answer_field(form.answer_field);
  read->set_answer_form(source.answer_form());
  read->set_max_questions(source.max_questions());
  const uint64_t most = source.max_questions() > 0 ? source.max_questions() : UINT64_MAX;
  Asked out;
  double chance = 0;
  for (int i = 0; i < source.path_size(); ++i) {
    const std::string field = StrCat("params.", where, ".questions.path[", i, "]");
    pb::DataRead* const data = read->add_data();
    data->set_content(source.path(i));
    const std::vector<File> files = job.FilesOf(source.path(i));
    if (files.empty()) return absl::NotFoundError(StrCat(field, ": no file came with the job"));
    for (const File& file : files) {
      data->set_path(std::string(file.path));
      out.files.push_back(file.name.empty() ? std::string(file.path) : StrCat(file.path, "/", file.name));
      const uint32_t index = out.files.size() - 1;
      const absl::Status done = ForEachJsonLine(
          {file.content, out.files.back()}, [&](uint64_t line, const simdjson::dom::object& object) -> absl::Status {
            if (out.questions.size() >= most) return absl::OkStatus();
            ASSIGN_OR_RETURN(Question question, ReadQuestion(object, form));
            question.file = index;
            question.line = line;
            chance += 1 / static_cast<double>(question.choices.size());
            data->set_documents(data->documents() + 1);
            out.questions.push_back(std::move(question));
            return job.CheckStop();
          });
      RETURN_IF_ERROR(Annotate(done, field));
      data->set_bytes(data->bytes() + file.content.size());
    }
  }
  if (out.questions.empty()) {
    return absl::InvalidArgumentError(
        StrCat("params.", where, ".questions: no question in it; there is nothing to ask"));
  }
  read->set_questions(out.questions.size());
  read->set_chance(chance / static_cast<double>(out.questions.size()));
  return out;
}

// The questions that are done, of this attempt and of those before it.
class ChoicesKept {
 public:
  ChoicesKept(const std::vector<Question>& questions, size_t subjects, Job& job, JobCheckpoint* checkpoint)
      : checkpoint_(checkpoint), subjects_(subjects) {
    const std::string_view last = checkpoint->part(JobCheckpoint::kChoices);
    if (last.empty()) return;
    std::vector<uint64_t> choices;
    for (const Question& question : questions) choices.push_back(question.choices.size());
    if (!RestoreChoices(last, choices, subjects_)) {
      subjects_.assign(subjects, {});  // No measurement of these questions.
      return;
    }
    job.Info(StrCat("goes on after ", done(), " of ", subjects * questions.size(),
                    " questions: an earlier attempt has asked them"));
    job.Progress("choices", done(), subjects * questions.size(), "questions");
  }
  ChoicesSoFar* subject(size_t s) { return &subjects_[s]; }
  uint64_t done() const {
    uint64_t count = 0;
    for (const ChoicesSoFar& subject : subjects_) count += subject.log_likelihood.size();
    return count;
  }
  void Keep(bool now) {
    if (!now && !pace_.due()) return;
    const Stopwatch watch;
    KeptWriter out;
    KeepChoices(subjects_, &out);
    checkpoint_->Save(JobCheckpoint::kChoices, out.bytes());
    pace_.Kept(watch);
  }

 private:
  JobCheckpoint* const checkpoint_;
  std::vector<ChoicesSoFar> subjects_;  // One each.
  KeepPace pace_;
};

void CheckChoice(const pb::MultipleChoice& choice, Job& job) {
  CheckSource("multiple_choice", choice.questions(), choice.prompt(), job);
  if (!pb::Continuation_IsValid(choice.continuation())) {
    job.Finding("multiple_choice.continuation", "is not one that is known");
  }
  if (choice.continuation() == pb::CONTINUATION_LETTER && choice.prompt().find("{choices}") == std::string::npos) {
    job.Finding("multiple_choice.prompt",
                "letters mean nothing to a model that does not see the choices; put {choices} in it");
  }
}

void CheckAnswers(const pb::GeneratedAnswers& answers, Job& job) {
  CheckSource("generated_answers", answers.questions(), answers.prompt(), job);
  if (answers.raw() && !answers.system().empty()) {
    job.Finding("generated_answers.system", "a system message needs the chat template, which raw: true leaves out");
  }
  if (answers.max_tokens() > kMostAnswerTokens) {
    job.Finding("generated_answers.max_tokens", StrCat(answers.max_tokens(), " is more than ", kMostAnswerTokens));
  }
  for (int i = 0; i < answers.stop_size(); ++i) {
    if (answers.stop(i).empty()) {
      job.Finding(StrCat("generated_answers.stop[", i, "]"), "is empty; every answer would end at once");
    }
  }
}

}  // namespace

void CheckQuestions(const pb::EvaluateSpec& spec, Job& job) {
  if (spec.has_multiple_choice()) CheckChoice(spec.multiple_choice(), job);
  if (spec.has_generated_answers()) CheckAnswers(spec.generated_answers(), job);
}

absl::Status MeasureMultipleChoice(const pb::EvaluateSpec& spec, const std::vector<Subject>& subjects, Job& job,
                                   JobCheckpoint* checkpoint, pb::EvaluateResult* result) {
  const pb::MultipleChoice& choice = spec.multiple_choice();
  pb::ChoiceResult* const out = result->mutable_multiple_choice();
  out->set_prompt(std::string(Or(choice.prompt(), kChoicePrompt)));
  out->set_delimiter(choice.has_delimiter() ? choice.delimiter() : " ");
  const bool letters = choice.continuation() == pb::CONTINUATION_LETTER;
  out->set_continuation(letters ? pb::CONTINUATION_LETTER : pb::CONTINUATION_TEXT);
  out->set_compute(spec.compute() == pb::COMPUTE_TYPE_BF16 ? pb::COMPUTE_TYPE_BF16 : pb::COMPUTE_TYPE_F32);
  ASSIGN_OR_RETURN(const Asked asked,
                   ReadQuestions("multiple_choice", choice.questions(), out->prompt(), job, out->mutable_questions()));
  const ChoiceSettings settings = {spec.context(), out->delimiter(), letters, spec.batch()};
  const uint64_t count = asked.questions.size();
  ChoicesKept kept(asked.questions, subjects.size(), job, checkpoint);
  std::vector<json> lines(count);
  for (size_t s = 0; s < subjects.size(); ++s) {
    ASSIGN_OR_RETURN(
        const ChoiceMeasurement of,
        MeasureChoices(
            subjects[s], asked.questions, settings, [&](const Question& question) { return asked.Place(question); },
            [&] {
              job.Progress("choices", kept.done(), subjects.size() * count, "questions");
              const absl::Status stop = job.CheckStop();
              kept.Keep(!stop.ok());
              return stop;
            },
            kept.subject(s)));
    pb::ChoiceScores* const scores = out->add_scores();
    scores->set_model(subjects[s].name);
    scores->set_version(subjects[s].version);
    scores->set_tokenizer(subjects[s].tokenizer_hash);
    uint64_t right[kChoiceNorms] = {};
    for (size_t i = 0; i < count; ++i) {
      const ChoiceScore& score = of.questions[i];
      scores->set_truncated(scores->truncated() + score.truncated);
      const std::vector<std::string> continuations = Continuations(asked.questions[i], settings);
      for (int n = 0; n < kChoiceNorms; ++n) {
        const bool correct = Chosen(score, continuations, kNorms[n]) == asked.questions[i].answer;
        right[n] += correct;
        lines[i][kNormNames[n]].push_back(correct ? 1 : 0);
      }
      lines[i]["chosen"].push_back(std::string(1, LetterOf(Chosen(score, continuations, ChoiceNorm::kNone))));
      lines[i]["log_likelihood"].push_back(score.log_likelihood);
      lines[i]["tokens"].push_back(score.tokens);
      lines[i]["truncated"].push_back(score.truncated);
    }
    *scores->mutable_acc() = ShareOf(right[0], count);
    *scores->mutable_acc_norm() = ShareOf(right[1], count);
    *scores->mutable_acc_bytes() = ShareOf(right[2], count);
    *scores->mutable_acc_tokens() = ShareOf(right[3], count);
    scores->set_context(of.context);
    scores->set_computed_tokens(kept.subject(s)->computed_tokens);
    scores->set_seconds(kept.subject(s)->seconds);
    job.Metric(StrCat("accuracy ", subjects[s].name), scores->acc().value());
    if (scores->truncated() > 0) {
      job.Warning(StrCat(scores->truncated(), " of ", count, " questions are longer than the context of ", of.context,
                         " tokens for ", subjects[s].name, "; their beginning was left out"));
    }
  }
  QuestionFile file(subjects, {kNormNames, kNormNames + kChoiceNorms});
  for (size_t i = 0; i < count; ++i) file.Add(asked.questions[i], asked.files, std::move(lines[i]));
  RETURN_IF_ERROR(job.BeginExport(kChoicesFile));
  return job.WriteExport(file.content());
}

absl::Status MeasureAnswers(const pb::EvaluateSpec& spec, const std::vector<Subject>& subjects, Job& job,
                            pb::EvaluateResult* result) {
  const pb::GeneratedAnswers& answers = spec.generated_answers();
  pb::AnswerResult* const out = result->mutable_generated_answers();
  out->set_prompt(std::string(Or(answers.prompt(), kAnswerPrompt)));
  out->set_raw(answers.raw());
  out->set_system(answers.system());
  out->set_max_tokens(answers.max_tokens() > 0 ? answers.max_tokens() : kAnswerTokens);
  *out->mutable_stop() = answers.stop();
  if (answers.raw() && answers.stop().empty()) {
    for (const char* stop : {"\n\n", "\nCâu hỏi"}) out->add_stop(stop);
  }
  out->set_compute(spec.compute() == pb::COMPUTE_TYPE_BF16 ? pb::COMPUTE_TYPE_BF16 : pb::COMPUTE_TYPE_F32);
  ASSIGN_OR_RETURN(const Asked asked, ReadQuestions("generated_answers", answers.questions(), out->prompt(), job,
                                                    out->mutable_questions()));
  const uint64_t count = asked.questions.size();
  std::vector<generate::Prompt> prompts;
  for (const Question& question : asked.questions) prompts.push_back({asked.Place(question), question.prompt, nullptr});
  AskForm form = {answers.raw(), answers.system(), {}};
  form.settings.max_tokens = out->max_tokens();
  form.settings.batch = spec.batch() > 0 ? spec.batch() : 16;
  form.settings.stops.assign(out->stop().begin(), out->stop().end());
  std::vector<json> lines(count);
  for (size_t s = 0; s < subjects.size(); ++s) {
    const Stopwatch watch;
    const Model& model = job.model(s);
    const FileOf file = [&model](std::string_view name) { return nn::ContentOf(model, name); };
    const uint64_t most = count * out->max_tokens();
    ASSIGN_OR_RETURN(const std::vector<generate::Answer> given,
                     Ask(subjects[s], file, prompts, form, [&](uint64_t tokens) {
                       job.Progress("answers", s * most + std::min(tokens, most), subjects.size() * most, "tokens");
                       return job.CheckStop();
                     }));
    pb::AnswerScores* const scores = out->add_scores();
    scores->set_model(subjects[s].name);
    scores->set_version(subjects[s].version);
    scores->set_tokenizer(subjects[s].tokenizer_hash);
    uint64_t right = 0;
    for (size_t i = 0; i < count; ++i) {
      const generate::Answer& answer = given[i];
      const std::optional<size_t> meant = ChoiceMeant(answer.text, asked.questions[i].choices);
      const bool correct = meant == asked.questions[i].answer;
      const bool cut = answer.ending == generate::Ending::kMaxTokens || answer.ending == generate::Ending::kContext;
      right += correct;
      scores->set_unparseable(scores->unparseable() + !meant.has_value());
      scores->set_cut(scores->cut() + cut);
      scores->set_tokens(scores->tokens() + answer.tokens.size());
      lines[i]["accuracy"].push_back(correct ? 1 : 0);
      lines[i]["chosen"].push_back(meant.has_value() ? json(std::string(1, LetterOf(*meant))) : json());
      lines[i]["text"].push_back(answer.text);
      lines[i]["tokens"].push_back(answer.tokens.size());
      lines[i]["cut"].push_back(cut);
    }
    *scores->mutable_accuracy() = ShareOf(right, count);
    *scores->mutable_accuracy_parsed() = ShareOf(right, count - scores->unparseable());
    scores->set_seconds(watch.seconds());
    job.Metric(StrCat("accuracy ", subjects[s].name), scores->accuracy().value());
    if (scores->unparseable() > 0) {
      job.Warning(StrCat("in ", scores->unparseable(), " of ", count, " answers of ", subjects[s].name,
                         " no choice was found; they count as wrong"));
    }
  }
  QuestionFile file(subjects, {"accuracy"});
  for (size_t i = 0; i < count; ++i) file.Add(asked.questions[i], asked.files, std::move(lines[i]));
  RETURN_IF_ERROR(job.BeginExport(kAnswersFile));
  return job.WriteExport(file.content());
}

}  // namespace editd::evaluate
