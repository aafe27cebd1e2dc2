// What stopped measurements have kept, with anything in it, of one model or two (the first byte): of texts, eight
// windows and two documents; or of questions, five of them. What is taken has the shape of what is measured, and can be
// counted with and kept again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "plugins/evaluate/kept_measurement.h"

namespace {

using namespace editd::evaluate;

void Choices(std::string_view bytes, size_t subjects) {
  const uint64_t choices[] = {2, 4, 3, 26, 2};
  std::vector<ChoicesSoFar> so_far(subjects), once_more(subjects);
  if (!RestoreChoices(bytes, choices, so_far)) return;
  for (const ChoicesSoFar& subject : so_far) {
    for (const auto& [question, log_likelihood] : subject.log_likelihood) {
      if (question >= 5 || log_likelihood.size() != choices[question]) std::abort();
    }
  }
  KeptWriter again;
  KeepChoices(so_far, &again);
  if (!RestoreChoices(again.bytes(), choices, once_more)) std::abort();
  for (size_t s = 0; s < subjects; ++s) {
    if (so_far[s].log_likelihood != once_more[s].log_likelihood) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t subjects = 1 + data[0] % 2;
  if ((data[0] & 2) != 0) {
    Choices({reinterpret_cast<const char*>(data) + 1, size - 1}, subjects);
    return 0;
  }
  const MeasurementShape shape = {8, 100, [&](uint64_t window) -> MeasurementShape::OfWindow {
                                    if (window >= 8) std::abort();
                                    return {{window % 3, subjects == 2 ? 2u : 0u}, subjects == 2 ? window % 2 : 0};
                                  }};
  const auto restore = [&](std::string_view bytes, MeasuredSoFar* so_far, std::map<uint64_t, WindowScores>* windows) {
    so_far->result.perplexity.resize(subjects);
    for (Perplexity& perplexity : so_far->result.perplexity) perplexity.documents.resize(2);
    if (subjects == 2) so_far->result.diff.emplace();
    return RestoreMeasurement(bytes, shape, so_far, windows);
  };
  MeasuredSoFar so_far;
  std::map<uint64_t, WindowScores> windows;
  if (!restore({reinterpret_cast<const char*>(data) + 1, size - 1}, &so_far, &windows)) return 0;
  if (so_far.block_first > 8 || so_far.done > 100) std::abort();
  if (so_far.result.diff.has_value() && so_far.result.diff->targets.count() > 0) so_far.result.diff->targets.Table();
  KeptWriter again;
  KeepSums(shape, so_far, &again);
  for (const auto& [place, scores] : windows) {
    for (size_t s = 0; s < subjects; ++s) {
      if (scores.scored[s].size() != shape.of_window(so_far.block_first + place).scored[s]) std::abort();
    }
    uint64_t same = 0;
    for (const editd::nn::PairScore& pair : scores.pairs) same += pair.same_top + pair.same_top_common;
    if (same > 2 * scores.pairs.size()) std::abort();
    KeepWindow(place, subjects, scores, &again);
  }
  MeasuredSoFar once_more;
  std::map<uint64_t, WindowScores> same_windows;
  if (!restore(again.bytes(), &once_more, &same_windows) || same_windows.size() != windows.size()) std::abort();
  return 0;
}
