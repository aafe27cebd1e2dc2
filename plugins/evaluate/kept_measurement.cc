#include "plugins/evaluate/kept_measurement.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace editd::evaluate {
namespace {

bool IsBool(const bool& value) {
  unsigned char byte = 0;
  std::memcpy(&byte, &value, 1);
  return byte <= 1;
}

}  // namespace

void KeepSums(const MeasurementShape& shape, const MeasuredSoFar& so_far, KeptWriter* out) {
  for (const uint64_t number : {shape.windows, shape.tokens, so_far.block_first, so_far.done, so_far.running_tokens}) {
    out->Put(number);
  }
  out->Put(so_far.running_nll);
  for (const Perplexity& perplexity : so_far.result.perplexity) {
    out->PutAll(perplexity.documents);
    for (const double number : {perplexity.nll_squares, perplexity.weighted, perplexity.weights, perplexity.seconds}) {
      out->Put(number);
    }
    out->Put(perplexity.computed_tokens);
  }
  if (so_far.result.diff.has_value()) {
    out->Put(static_cast<const LogitsSums&>(*so_far.result.diff));
    so_far.result.diff->targets.Keep(out);
  }
}

void KeepWindow(uint64_t place, size_t subjects, const WindowScores& scores, KeptWriter* out) {
  out->Put(place);
  for (size_t s = 0; s < subjects; ++s) out->PutAll(scores.scored[s]);
  out->PutAll(scores.pairs);
}

bool RestoreMeasurement(std::string_view bytes, const MeasurementShape& shape, MeasuredSoFar* so_far,
                        std::map<uint64_t, WindowScores>* windows) {
  KeptReader in(bytes);
  uint64_t count = 0, tokens = 0;
  const bool head = in.Get(&count) && in.Get(&tokens) && in.Get(&so_far->block_first) && in.Get(&so_far->done) &&
                    in.Get(&so_far->running_tokens) && in.Get(&so_far->running_nll);
  if (!head || count != shape.windows || tokens != shape.tokens) return false;
  if (so_far->block_first > count || so_far->done > tokens) return false;
  for (Perplexity& perplexity : so_far->result.perplexity) {
    const size_t documents = perplexity.documents.size();
    if (!in.GetAll(&perplexity.documents) || perplexity.documents.size() != documents) return false;
    for (double* number : {&perplexity.nll_squares, &perplexity.weighted, &perplexity.weights, &perplexity.seconds}) {
      if (!in.Get(number)) return false;
    }
    if (!in.Get(&perplexity.computed_tokens)) return false;
  }
  if (std::optional<LogitsDiff>& diff = so_far->result.diff; diff.has_value()) {
    if (!in.Get(static_cast<LogitsSums*>(&*diff)) || !diff->targets.Restore(&in)) return false;
  }
  while (!in.at_end()) {
    uint64_t place = 0;
    if (!in.Get(&place) || place >= count - so_far->block_first) return false;
    const auto [window, is_new] = windows->try_emplace(place);
    if (!is_new) return false;
    WindowScores& scores = window->second;
    const MeasurementShape::OfWindow of = shape.of_window(so_far->block_first + place);
    for (size_t s = 0; s < so_far->result.perplexity.size(); ++s) {
      if (!in.GetAll(&scores.scored[s]) || scores.scored[s].size() != of.scored[s]) return false;
    }
    if (!in.GetAll(&scores.pairs) || scores.pairs.size() != of.pairs) return false;
    if (!std::all_of(scores.pairs.begin(), scores.pairs.end(),
                     [](const nn::PairScore& pair) { return IsBool(pair.same_top_common) && IsBool(pair.same_top); })) {
      return false;
    }
  }
  return true;
}

void KeepChoices(std::span<const ChoicesSoFar> subjects, KeptWriter* out) {
  for (const ChoicesSoFar& subject : subjects) {
    out->Put(subject.computed_tokens);
    out->Put(subject.seconds);
    out->Put<uint64_t>(subject.log_likelihood.size());
    for (const auto& [question, log_likelihood] : subject.log_likelihood) {
      out->Put(question);
      out->PutAll(log_likelihood);
    }
  }
}

bool RestoreChoices(std::string_view bytes, std::span<const uint64_t> choices, std::span<ChoicesSoFar> subjects) {
  KeptReader in(bytes);
  for (ChoicesSoFar& subject : subjects) {
    uint64_t done = 0;
    if (!in.Get(&subject.computed_tokens) || !in.Get(&subject.seconds) || !in.Get(&done)) return false;
    for (uint64_t i = 0; i < done; ++i) {
      uint64_t question = 0;
      if (!in.Get(&question) || question >= choices.size()) return false;
      const auto [entry, is_new] = subject.log_likelihood.try_emplace(question);
      std::vector<double>& of = entry->second;
      if (!is_new || !in.GetAll(&of) || of.size() != choices[question]) return false;
      if (!std::all_of(of.begin(), of.end(), [](double value) { return std::isfinite(value); })) return false;
    }
  }
  return in.at_end();
}

}  // namespace editd::evaluate
