// The head: what the logits of hidden states say, without ever holding the logits.
//
// A row of logits is as wide as the vocabulary (49,152 to 262,144 columns); for a batch of windows they would be
// gigabytes. The head goes by groups of a few hundred columns: it packs the group's rows of the matrix, multiplies all
// positions with it, and keeps for each position only a few sums of the group. These are joined in double precision, in
// the order of the groups. So neither the batch nor the number of threads changes a result.
//
// Thread-safe: functions of their arguments (a Decoder lends its matrix, compute type and threads).
#ifndef EDITD_PLUGINS_LIB_NN_HEAD_H_
#define EDITD_PLUGINS_LIB_NN_HEAD_H_

#include <cstdint>
#include <span>
#include <vector>

#include "plugins/lib/nn/decoder.h"

namespace editd::nn {

// One position's hidden state (HiddenStates::row) and the token that followed: a row of the head's matrix.
struct Position {
  const void* hidden;
  int32_t target;
};

struct Score {
  double nll;          // -ln p(target), nats.
  double log_sum_exp;  // Of the position's logits over the rows that count.
};

// Soft-max over the first `rows` rows of the head's matrix: padding rows that follow take no part.
std::vector<Score> ScoreTargets(const Decoder& decoder, std::span<const Position> positions, int64_t rows);

// One position's logits over rows that two models share.
struct PairScore {
  double log_sum_exp_a, log_sum_exp_b;
  double kl;       // KL(a || b), both renormalised over these rows, nats.
  double squares;  // Sum of squared differences of logits.
  float max_abs;
  int64_t argmax_a, argmax_b;  // Indices into the lists of rows.
};

// `a[i]` and `b[i]` are the same position in two models, `rows_a[j]` and `rows_b[j]` the same token. Equal hidden
// states and equal rows give exactly 0: both sides take the same path.
std::vector<PairScore> ComparePositions(const Decoder& decoder_a, const Decoder& decoder_b,
                                        std::span<const void* const> a, std::span<const void* const> b,
                                        std::span<const int64_t> rows_a, std::span<const int64_t> rows_b);

// The logits themselves: positions x vocab_size. For tests and small questions.
std::vector<float> Logits(const Decoder& decoder, std::span<const void* const> positions);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_HEAD_H_
