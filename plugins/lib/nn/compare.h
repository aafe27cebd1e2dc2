// How far two models' predictions are apart at the same place of a text: everything that two rows of logits can say.
//
// The rows of a few hundred positions are held at a time (about 200 MB), and each pair is gone through once: rows of
// common tokens side by side, sorted by the first byte of their tokens, so that both a distance between distributions
// over tokens and one over next bytes are sums over stretches. Sums of 4,096 columns are float32, joined in double.
//
// Thread-safe: functions of their arguments (a Decoder lends its matrix, compute type and threads).
#ifndef EDITD_PLUGINS_LIB_NN_COMPARE_H_
#define EDITD_PLUGINS_LIB_NN_COMPARE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "plugins/lib/nn/head.h"

namespace editd::nn {

// What a token begins with: its first byte, or kNoByte for one that stands for no text.
inline constexpr uint16_t kNoByte = 256;
inline constexpr int kByteClasses = 257;

// Which rows of two heads are the same token.
class CommonRows {
 public:
  // rows_a[j] and rows_b[j] are the same token. begins_*[row]: what the row's token begins with; as long as the rows
  // that count.
  CommonRows(std::span<const int64_t> rows_a, std::span<const int64_t> rows_b, std::vector<uint16_t> begins_a,
             std::vector<uint16_t> begins_b);

  int64_t common() const { return common_; }
  int64_t rows(int side) const { return order_[side].size(); }
  // By place: the common rows, sorted by what they begin with, then the side's own, likewise.
  const std::vector<int32_t>& order(int side) const { return order_[side]; }
  struct Stretch {
    uint16_t begins;
    int64_t first, end;  // Places.
  };
  // Common rows first; theirs are the same on both sides.
  const std::vector<Stretch>& stretches(int side) const { return stretches_[side]; }

 private:
  int64_t common_;
  std::vector<int32_t> order_[2];
  std::vector<Stretch> stretches_[2];
};

struct PairPosition {
  const void* hidden[2];
  int64_t target[2];  // The row of the token that followed; -1: not asked.
  bool tokens;        // Compare token by token; else next bytes only.
};

struct PairScore {
  Score score[2];               // Over all rows of each.
  double next_byte_kl;          // KL(a || b) of the distributions over what the next token begins with, nats.
  double next_byte_kl_reverse;  // KL(b || a) of the same.
  // Of tokens, if they are compared. Over the common rows, with both soft-maxes renormalised over them:
  double kl, kl_reverse;            // KL(a || b), KL(b || a), nats.
  double js;                        // Jensen-Shannon divergence, nats.
  double squares, squares_centred;  // Of differences of logits; centred: less their mean.
  float max_abs, max_abs_centred;
  int shared_top;        // How many of the `top_k` most likely common rows both have.
  bool same_top_common;  // The most likely common row is the same.
  // Over all rows:
  bool same_top;                // The most likely row is the same.
  double common[2], others[2];  // Probability of all common rows, and of the rest.
};

// Calls `visit` in order. `top_k` is at most the number of common rows. Errors: a device's (device.h).
absl::Status ComparePositions(const Decoder& a, const Decoder& b, std::span<const PairPosition> positions,
                              const CommonRows& rows, int top_k,
                              const std::function<void(size_t index, const PairScore& score)>& visit);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_COMPARE_H_
