// The measurement itself: windows through the decoders, scores into sums.
//
// Windows are computed in blocks of about 65,536 tokens, those of a like length side by side. Results do not depend on
// the batch or on the number of threads: states do not (nn/decoder.h), and sums are taken over windows in their order.
// Each model runs once over its windows; where both have read the same bytes their predictions are compared, with the
// logits that also score the text.
#ifndef EDITD_PLUGINS_EVALUATE_MEASURE_H_
#define EDITD_PLUGINS_EVALUATE_MEASURE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/evaluate/documents.h"
#include "plugins/evaluate/kept.h"
#include "plugins/evaluate/pairing.h"
#include "plugins/evaluate/settings.h"
#include "plugins/evaluate/statistics.h"

namespace editd::evaluate {

// Of the tokens scored.
struct Scores {
  uint64_t tokens = 0, bytes = 0;
  double nll = 0;      // Nats.
  double outside = 0;  // Probability of the subject's marked rows, a sum over the tokens' positions.
};

struct Perplexity {
  std::vector<Scores> documents;
  double nll_squares = 0;
  // kHfStrided: that page's mean over windows.
  double weighted = 0, weights = 0;
  uint64_t computed_tokens = 0;  // Through the decoder, context included.
  double seconds = 0;

  Scores total() const;
  double log_perplexity() const;
};

// Sums over positions, but for what is largest.
struct LogitsSums {
  uint64_t positions = 0, left_out = 0;
  double max_abs = 0, squares = 0, max_abs_centred = 0, squares_centred = 0;
  double kl = 0, kl_reverse = 0, js = 0, kl_coarse = 0, kl_coarse_reverse = 0;
  double removed_mass = 0, leaked_mass = 0;
  uint64_t same_top = 0, shared_top = 0;
  uint64_t boundaries = 0, cut_otherwise = 0;
  double next_byte_kl = 0, next_byte_kl_reverse = 0, next_byte_kl_cut_otherwise = 0;
  uint64_t bytes_cut_alike = 0;
};

struct LogitsDiff : LogitsSums {
  DivergenceSums targets;
};

struct Measurement {
  std::vector<Perplexity> perplexity;  // By subject.
  std::optional<LogitsDiff> diff;
};

// Called at the start and after each batch; an error ends the measurement with it. `perplexity` is the base's so far,
// and means nothing while `done` is 0.
using Watch = std::function<absl::Status(double perplexity, uint64_t done, uint64_t total)>;

// One or two subjects, the base first; `rows` is theirs (null with one). With `keeping`, windows that an earlier
// attempt has measured are not measured again; the result is the same to the bit.
absl::StatusOr<Measurement> Measure(const std::vector<Subject*>& subjects, const RowPairs* rows,
                                    const Documents& documents, const Settings& settings, const Watch& watch,
                                    const Keeping* keeping = nullptr);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_MEASURE_H_
