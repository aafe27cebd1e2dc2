// Multiple choice: how likely each choice is as what follows its question, as lm-evaluation-harness 0.4.13 counts it.
//
// What a question's choices begin with in common goes through the model once: the first choice runs whole and leaves
// its keys and values, each other choice goes on where it parts from it. Several questions do so side by side, those of
// a like length, and the head sees only the positions before scored tokens. A state does not depend on what runs beside
// it or on whether a sequence ran at once (nn/decoder.h), so neither does a log-likelihood, to the last bit.
#ifndef EDITD_PLUGINS_EVALUATE_CHOICES_H_
#define EDITD_PLUGINS_EVALUATE_CHOICES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/evaluate/questions.h"
#include "plugins/evaluate/subject.h"

namespace editd::evaluate {

// What stands before the scored tokens, and these.
struct EncodedPair {
  std::vector<int32_t> context, continuation;
};

// White space at the context's end goes to the continuation; both are encoded as one text, of which the continuation is
// what comes after as many tokens as the context has alone. An empty context is the beginning of a text.
EncodedPair EncodePair(const Subject& subject, std::string_view context, std::string_view continuation);

struct ChoiceSettings {
  uint64_t context = 0;  // Tokens; 0: all that the model has.
  std::string delimiter = " ";
  bool letters = false;  // The continuation is the choice's letter, not its text.
  uint64_t batch = 0;    // Questions side by side; 0: chosen.
};

// Of one question.
struct ChoiceScore {
  std::vector<double> log_likelihood;  // Of each choice, nats.
  std::vector<uint32_t> tokens;        // Scored, of each choice.
  bool truncated = false;              // A choice did not fit with all of the context.
};

// What is done: what a later attempt needs to go on.
struct ChoicesSoFar {
  std::map<uint64_t, std::vector<double>> log_likelihood;  // By question.
  uint64_t computed_tokens = 0;
  double seconds = 0;
};

struct ChoiceMeasurement {
  std::vector<ChoiceScore> questions;
  uint64_t context = 0;
};

// Which choice is the likeliest, with log-likelihoods divided by something of each; the first of equals.
enum class ChoiceNorm { kNone, kCharacters, kBytes, kTokens };
inline constexpr int kChoiceNorms = 4;
size_t Chosen(const ChoiceScore& score, std::span<const std::string> continuations, ChoiceNorm norm);

// What is scored after the delimiter.
std::vector<std::string> Continuations(const Question& question, const ChoiceSettings& settings);

// Measures the questions that `so_far` does not have, and adds them to it after each batch; then `told` is called,
// whose error ends the measurement. The result is the same to the bit as that of a measurement in one go. `place` names
// a question for messages.
absl::StatusOr<ChoiceMeasurement> MeasureChoices(const Subject& subject, std::span<const Question> questions,
                                                 const ChoiceSettings& settings,
                                                 const std::function<std::string(const Question&)>& place,
                                                 const std::function<absl::Status()>& told, ChoicesSoFar* so_far);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_CHOICES_H_
