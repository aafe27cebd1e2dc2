// Sums of what two models give at the same tokens, and llama-perplexity's table of them: tools/perplexity of llama.cpp,
// whose formulas and percentiles these are. Tokens are taken for independent.
#ifndef EDITD_PLUGINS_EVALUATE_STATISTICS_H_
#define EDITD_PLUGINS_EVALUATE_STATISTICS_H_

#include <cstdint>
#include <vector>

#include "editd/plugins/evaluate/v1/evaluate.pb.h"
#include "plugins/evaluate/kept.h"

namespace editd::evaluate {

struct TokenPair {
  double nll_base, nll_other;
  double kl;  // KL(base || other)
  bool same_top;
};

class DivergenceSums {
 public:
  void Add(const TokenPair& pair);
  uint64_t count() const { return kl_.size(); }
  double mean_probability(int side) const;
  // count() >= 100.
  plugins::evaluate::v1::DivergenceTable Table() const;
  void Keep(KeptWriter* out) const;
  // False: the bytes are no such sums; what is here then does not count.
  bool Restore(KeptReader* in);

 private:
  struct Sums {
    double nll[2] = {}, squares[2] = {}, product = 0, kl = 0, kl_squares = 0;
    double probability[2] = {}, delta = 0, delta2 = 0, delta4 = 0;
    uint64_t same_top = 0;
  };
  Sums sums_;
  std::vector<float> kl_, delta_p_;
};

// Mean of `n` values and its standard error, from their sum and the sum of their squares.
plugins::evaluate::v1::Estimate MeanOf(double sum, double squares, double n);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_STATISTICS_H_
