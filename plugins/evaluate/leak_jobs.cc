#include "plugins/evaluate/leak_jobs.h"

#include <algorithm>
#include <cmath>

#include "plugins/evaluate/answers.h"
#include "plugins/evaluate/script_leak.h"
#include "plugins/lib/nn/model_weights.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

constexpr uint32_t kWrittenTokens = 128, kMostTokens = 1 << 16;

std::vector<std::string> ScriptsOf(const pb::ScriptLeak& leak) {
  if (leak.allowed_script().empty()) return {"Latin"};
  return {leak.allowed_script().begin(), leak.allowed_script().end()};
}

// The part of the result that both measurements have; once.
void Begin(const pb::EvaluateSpec& spec, const std::vector<Subject>& subjects, pb::LeakResult* result) {
  if (result->scores_size() > 0) return;
  for (const std::string& name : ScriptsOf(spec.script_leak())) result->add_allowed_script(name);
  for (const Subject& subject : subjects) {
    pb::LeakScores* const scores = result->add_scores();
    scores->set_model(subject.name);
    scores->set_version(subject.version);
    scores->set_tokenizer(subject.tokenizer_hash);
    scores->set_rows(static_cast<uint64_t>(subject.rows));
    scores->set_rows_outside(subject.marked_rows->size());
  }
}

// The mean over positions; documents are what was drawn, their positions hang together.
pb::Estimate MassOf(const std::vector<Scores>& documents, const Scores& all) {
  pb::Estimate out;
  if (all.tokens == 0) return out;
  const auto positions = static_cast<double>(all.tokens), n = static_cast<double>(documents.size());
  out.set_value(all.outside / positions);
  double squares = 0;
  for (const Scores& document : documents) {
    squares += std::pow(document.outside - out.value() * static_cast<double>(document.tokens), 2);
  }
  if (n > 1) out.set_error(std::sqrt(n / (n - 1) * squares) / positions);
  return out;
}

}  // namespace

void CheckLeak(const pb::EvaluateSpec& spec, Job& job) {
  if (!spec.has_script_leak()) return;
  const pb::ScriptLeak& leak = spec.script_leak();
  if (spec.data_size() + leak.prompt_path_size() == 0) {
    job.Finding("script_leak",
                "is measured where data is scored or after prompts, and there are none; name a text: data { path: "
                "\"t.txt\" }");
  }
  for (int i = 0; i < leak.prompt_path_size(); ++i) {
    if (leak.prompt_path(i).empty()) job.Finding(StrCat("script_leak.prompt_path[", i, "]"), "is empty; name a file");
  }
  if (leak.max_tokens() > kMostTokens) {
    job.Finding("script_leak.max_tokens", StrCat(leak.max_tokens(), " is more than ", kMostTokens));
  }
  if (!(leak.temperature() >= 0 && leak.temperature() <= 100)) {
    job.Finding("script_leak.temperature", StrCat(leak.temperature(), " is not between 0 and 100"));
  }
  if (leak.prompt_path_size() == 0 && (leak.raw() || leak.max_tokens() > 0 || leak.temperature() > 0)) {
    job.Finding("script_leak",
                "raw, max_tokens and temperature are of what is written after prompts, and there are "
                "none; leave them out, or name a file: prompt_path: \"p.jsonl\"");
  }
  for (int i = 0; i < leak.allowed_script_size(); ++i) {
    const std::string name[] = {leak.allowed_script(i)};
    const auto known = text::AllowedScripts::Of(name);
    if (!known.ok()) job.Finding(StrCat("script_leak.allowed_script[", i, "]"), ToStd(known.status().message()));
  }
}

absl::Status MarkLeak(const pb::EvaluateSpec& spec, std::vector<Subject>* subjects) {
  ASSIGN_OR_RETURN(const text::AllowedScripts allowed, text::AllowedScripts::Of(ScriptsOf(spec.script_leak())));
  for (Subject& subject : *subjects) subject.marked_rows = RowsOutside(*subject.tokenizer, subject.rows, allowed);
  return absl::OkStatus();
}

void ReportLeak(const pb::EvaluateSpec& spec, const Measurement& measured, const std::vector<Subject>& subjects,
                pb::LeakResult* result) {
  Begin(spec, subjects, result);
  for (size_t s = 0; s < subjects.size(); ++s) {
    const Perplexity& from = measured.perplexity[s];
    pb::LeakScores* const scores = result->mutable_scores(static_cast<int>(s));
    scores->set_positions(from.total().tokens);
    *scores->mutable_mass() = MassOf(from.documents, from.total());
  }
}

absl::Status MeasureWriting(const pb::EvaluateSpec& spec, const std::vector<Subject>& subjects, Job& job,
                            pb::EvaluateResult* result) {
  const pb::ScriptLeak& leak = spec.script_leak();
  pb::LeakResult* const out = result->mutable_script_leak();
  Begin(spec, subjects, out);
  out->set_raw(leak.raw());
  out->set_max_tokens(leak.max_tokens() > 0 ? leak.max_tokens() : kWrittenTokens);
  out->set_temperature(leak.temperature());
  ASSIGN_OR_RETURN(const text::AllowedScripts allowed, text::AllowedScripts::Of(ScriptsOf(leak)));
  std::vector<generate::Prompt> prompts;
  for (int i = 0; i < leak.prompt_path_size(); ++i) {
    ASSIGN_OR_RETURN(const File file, job.FileOf(leak.prompt_path(i)));
    const size_t before = prompts.size();
    RETURN_IF_ERROR(
        generate::ReadPromptFile(StrCat("params.script_leak.prompt_path[", i, "]"), file.path, file.content, &prompts));
    pb::DataRead* const read = out->add_prompts();
    read->set_path(std::string(file.path));
    read->set_content(leak.prompt_path(i));
    read->set_documents(prompts.size() - before);
    read->set_bytes(file.content.size());
  }
  if (prompts.empty()) {
    return absl::InvalidArgumentError(
        "params.script_leak.prompt_path: no prompt in it; there is nothing to go on from");
  }
  AskForm form = {leak.raw(), "", {}};
  form.settings.max_tokens = out->max_tokens();
  form.settings.batch = spec.batch() > 0 ? spec.batch() : 16;
  form.settings.sampling.temperature = leak.temperature();
  form.settings.sampling.seed = job.seed();
  for (size_t s = 0; s < subjects.size(); ++s) {
    const Model& model = job.model(s);
    const FileOf file_of = [&model](std::string_view name) { return nn::ContentOf(model, name); };
    const uint64_t most = prompts.size() * out->max_tokens();
    ASSIGN_OR_RETURN(const std::vector<generate::Answer> answers,
                     Ask(subjects[s], file_of, prompts, form, [&](uint64_t tokens) {
                       job.Progress("write", s * most + std::min(tokens, most), subjects.size() * most, "tokens");
                       return job.CheckStop();
                     }));
    // Prompts are what was drawn; tokens of one answer hang together.
    std::vector<Scores> each;
    Scores all;
    for (const generate::Answer& answer : answers) {
      const WrittenTokens written = CountOutside(*subjects[s].tokenizer, answer.tokens, allowed);
      each.push_back({.tokens = written.tokens, .outside = static_cast<double>(written.outside)});
      all.tokens += written.tokens;
      all.outside += static_cast<double>(written.outside);
    }
    pb::LeakScores* const scores = out->mutable_scores(static_cast<int>(s));
    scores->set_generated_tokens(all.tokens);
    scores->set_generated_outside(static_cast<uint64_t>(all.outside));
    *scores->mutable_generated() = MassOf(each, all);
  }
  return absl::OkStatus();
}

}  // namespace editd::evaluate
