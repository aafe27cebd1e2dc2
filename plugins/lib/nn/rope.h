// Rotary positions: the angles by which queries and keys are turned.
//
// A head's dimensions are turned in pairs (i, i + half), each by its own frequency times the position. Scaling
// stretches the frequencies so that a model reads further than it was trained to: linear (all alike), llama3 and yarn
// (long waves only), dynamic (the base grows with the sequence). Everything is computed in float32 in the order in
// which transformers computes it, for an angle of a few thousand radians shows each rounding.
//
// With `dynamic` a sequence longer than the model's context has frequencies of its own length: there, and only there,
// a state depends on how much follows it. Such a length has a table of its own.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_NN_ROPE_H_
#define EDITD_PLUGINS_LIB_NN_ROPE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/nn/config_values.h"

namespace editd::nn {

struct Rope {
  std::vector<float> frequencies;  // head_dim / 2 of them, for sequences that need no dynamic scaling.
  float magnitude = 1;             // On cosines and sines: yarn's attention factor.
  // Not 0: sequences longer than this have frequencies of a base that grows by `factor`.
  int64_t dynamic_from = 0;
  double theta = 0, factor = 0;

  bool DependsOn(int64_t length) const { return dynamic_from > 0 && length > dynamic_from; }
  std::vector<float> FrequenciesFor(int64_t length) const;
  bool operator==(const Rope&) const = default;
};

// What `parameters` (null or an object; errors call it `key`) says of heads of `head_dim`. `theta` and
// `original_context` hold where it does not speak of them; `forced_context`, if not 0, holds in any case.
struct RopeSetting {
  const char* key;
  double theta;
  int64_t head_dim;
  int64_t max_positions;
  int64_t forced_context = 0;  // "original_max_position_embeddings" beside the parameters.
};
absl::StatusOr<Rope> ParseRope(const Json& parameters, const RopeSetting& setting);

// Cosines and sines: positions x head_dim / 2.
struct RotationTable {
  std::vector<float> cosine, sine;
};

class Rotations {
 public:
  // The table of `rope` for a sequence of `length` positions. Stays where it is until Forget.
  const RotationTable& For(const Rope& rope, int64_t length);
  // Lets go of the tables of single lengths if there are many: lengths of a dynamic scaling come and go.
  void Forget();

 private:
  std::map<std::pair<const Rope*, int64_t>, std::unique_ptr<RotationTable>> tables_;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_ROPE_H_
