// Answers to many prompts, some of them side by side: a prompt is read at once, then every step gives each open answer
// one token. When an answer ends, the next prompt takes its place. Nothing of an answer depends on what stands beside
// it.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_GENERATE_GENERATOR_H_
#define EDITD_PLUGINS_LIB_GENERATE_GENERATOR_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/generate/sampler.h"
#include "plugins/lib/nn/stepper.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::generate {

enum class Ending { kEnd = 1, kStop, kMaxTokens, kContext };

struct Answer {
  std::vector<int32_t> tokens;  // The one that ended it included.
  std::string text;
  std::string stop;
  Ending ending = Ending::kEnd;
};

struct Settings {
  Sampling sampling;
  int64_t max_tokens = 256;
  int64_t batch = 8;
  std::vector<std::string> stops;
  std::vector<int32_t> end_tokens;
};

struct Times {
  double prefill_seconds = 0, decode_seconds = 0;
  uint64_t prefilled = 0, decoded = 0;  // Tokens. An answer's first comes with its prompt.
};

// Told while answers grow. Text comes in pieces; both may be called often.
struct Listener {
  std::function<void(size_t prompt, std::string_view text)> text;
  std::function<absl::Status(uint64_t tokens)> progress;  // An error ends the work.
};

// Prompts are not empty and shorter than the model's context.
absl::StatusOr<std::vector<Answer>> Generate(nn::Decoder* decoder, nn::Stepper* stepper,
                                             const text::Tokenizer& tokenizer,
                                             const std::vector<std::vector<int32_t>>& prompts, const Settings& settings,
                                             const Listener& listener, Times* times);

}  // namespace editd::generate

#endif  // EDITD_PLUGINS_LIB_GENERATE_GENERATOR_H_
