#include "plugins/lib/nn/parallel.h"

namespace editd::nn {

void ForEach(int threads, int64_t count, const std::function<void(int64_t)>& f) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int64_t i = 0; i < count; ++i) f(i);
}

}  // namespace editd::nn
