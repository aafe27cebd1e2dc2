// The head: what the logits of hidden states say, without ever holding the logits.
//
// A row of logits is as wide as the vocabulary (49,152 to 262,144 columns); for a batch of windows they would be
// gigabytes. The head goes by groups of a few hundred columns: it packs the group's rows of the matrix, multiplies all
// positions with it, and keeps for each position only a few sums of the group. These are joined in double precision, in
// the order of the groups. So neither the batch nor the number of threads changes a result. Where a device computes, it
// does the same in its own way; errors are a device's alone (device.h).
//
// Thread-safe: functions of their arguments (a Decoder lends its matrix, compute type and threads), unless it is on a
// device.
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

// Soft-max over the first `rows` rows of the head's matrix: padding rows that follow take no part.
absl::StatusOr<std::vector<Score>> ScoreTargets(const Decoder& decoder, std::span<const Position> positions,
                                                int64_t rows);
// The same bits, and in `*probability` of each position the probability of all rows in `marked` together (ascending,
// below `rows`); exactly 0 if there are none.
absl::StatusOr<std::vector<Score>> ScoreTargets(const Decoder& decoder, std::span<const Position> positions,
                                                int64_t rows, std::span<const int32_t> marked,
                                                std::vector<double>* probability);

// The logits of positions over the first `rows` rows of the matrix: position i from out + i * stride on.
absl::Status LogitsInto(const Decoder& decoder, std::span<const void* const> positions, int64_t rows, float* out,
                        int64_t stride);
// What ScoreTargets gives for one position, from its logits: on the processor the same bits. A target below 0 has no
// nll.
Score ScoreOfLogits(const Decoder& decoder, const float* logits, int64_t rows, int64_t target);

// The logits themselves: positions x vocab_size. For tests and small questions.
absl::StatusOr<std::vector<float>> Logits(const Decoder& decoder, std::span<const void* const> positions);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_HEAD_H_
