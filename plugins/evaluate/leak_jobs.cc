#include "plugins/evaluate/leak_jobs.h"

#include <cmath>

#include "plugins/evaluate/script_leak.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

namespace pb = plugins::evaluate::v1;

std::vector<std::string> ScriptsOf(const pb::ScriptLeak& leak) {
  if (leak.allowed_script().empty()) return {"Latin"};
  return {leak.allowed_script().begin(), leak.allowed_script().end()};
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
  if (spec.data_size() == 0) {
    job.Finding("script_leak",
                "is measured where data is scored, and there is none; name a text: data { path: \"t.txt\" }");
  }
  for (int i = 0; i < spec.script_leak().allowed_script_size(); ++i) {
    const std::string name[] = {spec.script_leak().allowed_script(i)};
    const auto known = AllowedScripts::Of(name);
    if (!known.ok()) job.Finding(StrCat("script_leak.allowed_script[", i, "]"), ToStd(known.status().message()));
  }
}

absl::Status MarkLeak(const pb::EvaluateSpec& spec, std::vector<Subject>* subjects) {
  ASSIGN_OR_RETURN(const AllowedScripts allowed, AllowedScripts::Of(ScriptsOf(spec.script_leak())));
  for (Subject& subject : *subjects) subject.marked_rows = RowsOutside(*subject.tokenizer, subject.rows, allowed);
  return absl::OkStatus();
}

void ReportLeak(const pb::EvaluateSpec& spec, const Measurement& measured, const std::vector<Subject>& subjects,
                pb::LeakResult* result) {
  for (const std::string& name : ScriptsOf(spec.script_leak())) result->add_allowed_script(name);
  for (size_t s = 0; s < subjects.size(); ++s) {
    const Perplexity& from = measured.perplexity[s];
    pb::LeakScores* const scores = result->add_scores();
    scores->set_model(subjects[s].name);
    scores->set_version(subjects[s].version);
    scores->set_tokenizer(subjects[s].tokenizer_hash);
    scores->set_rows(static_cast<uint64_t>(subjects[s].rows));
    scores->set_rows_outside(subjects[s].marked_rows->size());
    scores->set_positions(from.total().tokens);
    *scores->mutable_mass() = MassOf(from.documents, from.total());
  }
}

}  // namespace editd::evaluate
