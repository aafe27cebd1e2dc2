#include "plugins/lib/generate/sampler.h"

#include <algorithm>
#include <cmath>

#include "plugins/lib/kernels/random.h"

namespace editd::generate {

void Penalize(double penalty, std::span<const int32_t> occurred, std::span<float> logits) {
  if (penalty == 1) return;
  const float factor = static_cast<float>(penalty);
  for (int32_t id : occurred) {
    float& logit = logits[id];
    logit = logit < 0 ? logit * factor : logit / factor;
  }
}

std::vector<std::pair<int32_t, double>> Candidates(const Sampling& sampling, std::span<const float> logits) {
  struct Token {
    float logit;
    int32_t id;
  };
  const float temperature = static_cast<float>(sampling.temperature);
  std::vector<Token> tokens(logits.size());
  float largest = -HUGE_VALF;
  for (size_t i = 0; i < logits.size(); ++i) {
    tokens[i] = {logits[i] / temperature, static_cast<int32_t>(i)};
    largest = std::max(largest, tokens[i].logit);
  }
  if (sampling.top_k > 0 && sampling.top_k < static_cast<int64_t>(tokens.size())) {
    // Equals of the k-th stay, as there.
    std::vector<float> order(tokens.size());
    for (size_t i = 0; i < tokens.size(); ++i) order[i] = tokens[i].logit;
    std::nth_element(order.begin(), order.begin() + sampling.top_k - 1, order.end(), std::greater<>());
    const float least = order[sampling.top_k - 1];
    std::erase_if(tokens, [&](const Token& t) { return t.logit < least; });
  }
  const auto weight = [&](const Token& t) { return std::exp(static_cast<double>(t.logit) - largest); };
  if (sampling.top_p > 0 && sampling.top_p < 1) {
    double sum = 0;
    for (const Token& t : tokens) sum += weight(t);
    // The most likely first, until those taken reach top_p; a heap, since few are taken.
    const auto less = [](const Token& a, const Token& b) {
      return a.logit != b.logit ? a.logit < b.logit : a.id > b.id;
    };
    std::make_heap(tokens.begin(), tokens.end(), less);
    std::vector<Token> kept;
    double taken = 0;
    while (!tokens.empty() && (kept.empty() || taken < sampling.top_p * sum)) {
      std::pop_heap(tokens.begin(), tokens.end(), less);
      kept.push_back(tokens.back());
      taken += weight(kept.back());
      tokens.pop_back();
    }
    tokens = std::move(kept);
  }
  if (sampling.min_p > 0) {
    std::erase_if(tokens, [&](const Token& t) { return weight(t) < sampling.min_p; });
  }
  std::sort(tokens.begin(), tokens.end(), [](const Token& a, const Token& b) { return a.id < b.id; });
  double sum = 0;
  for (const Token& t : tokens) sum += weight(t);
  std::vector<std::pair<int32_t, double>> out;
  out.reserve(tokens.size());
  for (const Token& t : tokens) out.emplace_back(t.id, weight(t) / sum);
  return out;
}

double Uniform(uint64_t seed, uint64_t prompt, uint64_t step) {
  const auto words = kernels::Philox({static_cast<uint32_t>(step), static_cast<uint32_t>(step >> 32),
                                      static_cast<uint32_t>(prompt), static_cast<uint32_t>(prompt >> 32)},
                                     static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
  return static_cast<double>((uint64_t{words[0]} << 32 | words[1]) >> 11) * 0x1p-53;
}

int32_t Choose(const Sampling& sampling, uint64_t prompt, uint64_t step, std::span<const float> logits) {
  if (sampling.temperature <= 0) {
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  }
  const auto candidates = Candidates(sampling, logits);
  const double wanted = Uniform(sampling.seed, prompt, step);
  double sum = 0;
  for (const auto& [id, probability] : candidates) {
    sum += probability;
    if (wanted < sum) return id;
  }
  return candidates.back().first;
}

}  // namespace editd::generate
