// The engine: tensors one after the other, each cut into tiles, all threads on the tiles, the result written in order.
//
// While the front tensor is blended and written, the next ones are scanned already, so no thread waits at a tensor's
// end. Memory is bounded by a fixed number of tiles: only the front tensor's tiles take buffers, in the order in which
// they are written, so the one that is waited for always has one. What is computed does not depend on any of this.
//
// Run is called by one thread, which writes; it starts the others and ends them before it returns.
#ifndef EDITD_PLUGINS_MERGE_ENGINE_H_
#define EDITD_PLUGINS_MERGE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "plugins/merge/tensor_merge.h"

namespace editd::merge {

// Where the result goes, piece by piece. One thread.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual absl::Status Begin(const TensorPlan& plan) = 0;
  virtual absl::Status Write(std::string_view bytes) = 0;
  // Elements begin .. end of this tensor's inputs are not needed any more. Called by any thread.
  virtual void Done(const TensorPlan& plan, int64_t begin, int64_t end) = 0;
};

struct EngineOptions {
  unsigned threads = 1;
  int64_t tile = 1 << 18;  // Elements, about.
};

// Makes each of `plans` and writes it to `sink`. FAILED_PRECONDITION: an element is not finite; the message names the
// tensor, the element and what the inputs have there.
absl::Status RunMerge(const std::vector<const TensorPlan*>& plans, const EngineOptions& options, Sink* sink);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_ENGINE_H_
