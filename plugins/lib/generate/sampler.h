// Choosing the next token from logits, as transformers' generate does.
//
// The order is theirs: repetition penalty; then, with a temperature, temperature, top-k, top-p, min-p; what is left is
// renormalised and drawn from. The random number of a token comes from the seed, the prompt's place and the token's
// place, so an answer depends neither on the batch nor on threads.
//
// Thread-safe: functions of their arguments.
#ifndef EDITD_PLUGINS_LIB_GENERATE_SAMPLER_H_
#define EDITD_PLUGINS_LIB_GENERATE_SAMPLER_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace editd::generate {

struct Sampling {
  double temperature = 0;  // 0: the most likely token, the first of equals.
  int64_t top_k = 0;       // 0: all.
  double top_p = 0;        // 0 or 1: all.
  double min_p = 0;
  double repetition_penalty = 1;
  uint64_t seed = 0;
};

// Divides the logits of tokens that `occurred` (each once) by the penalty; multiplies the negative ones.
void Penalize(double penalty, std::span<const int32_t> occurred, std::span<float> logits);

// The tokens that may follow and their probabilities, by id. `logits` were penalized, and hold no NaN.
std::vector<std::pair<int32_t, double>> Candidates(const Sampling& sampling, std::span<const float> logits);

// One token. `prompt` and `step` place it.
int32_t Choose(const Sampling& sampling, uint64_t prompt, uint64_t step, std::span<const float> logits);

// Uniform in [0, 1), a function of its arguments.
double Uniform(uint64_t seed, uint64_t prompt, uint64_t step);

}  // namespace editd::generate

#endif  // EDITD_PLUGINS_LIB_GENERATE_SAMPLER_H_
