// The measurement itself: windows through the decoders, scores into sums.
//
// Results do not depend on the batch, on the number of threads, or on whether a second model is measured beside the
// first: states do not (nn/decoder.h), and sums are taken over a document's windows in their order. Where both models
// cut a window alike, the second one's run serves its perplexity and the comparison.
#ifndef EDITD_PLUGINS_EVALUATE_MEASURE_H_
#define EDITD_PLUGINS_EVALUATE_MEASURE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/evaluate/documents.h"
#include "plugins/evaluate/windows.h"

namespace editd::evaluate {

struct Settings {
  uint64_t context = 512;
  uint64_t stride = 256;
  uint64_t batch = 0;  // Windows computed together; 0: about 4,096 tokens.
};

struct Perplexity {
  std::vector<double> nll;       // By document, nats.
  uint64_t computed_tokens = 0;  // Through the decoder, context included.
  double seconds = 0;
};

struct LogitsDiff {
  uint64_t positions = 0, left_out = 0;
  double max_abs = 0, squares = 0, kl = 0, removed_mass = 0;  // Sums over positions, but for max_abs.
  uint64_t same_top = 0;
};

struct Measurement {
  std::vector<Perplexity> perplexity;  // By subject.
  std::optional<LogitsDiff> diff;
};

// Called after each batch; an error ends the measurement with it. `perplexity` is of the subject at work, so far.
using Watch = std::function<absl::Status(size_t subject, double perplexity, uint64_t done, uint64_t total)>;

// One or two subjects, the base first; `rows` is theirs (null with one).
absl::StatusOr<Measurement> Measure(const std::vector<Subject*>& subjects, const RowPairs* rows,
                                    const std::vector<Document>& documents, const Settings& settings,
                                    const Watch& watch);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_MEASURE_H_
