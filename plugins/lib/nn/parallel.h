// Threads: OpenMP's pool, the one that libtorch uses.
#ifndef EDITD_PLUGINS_LIB_NN_PARALLEL_H_
#define EDITD_PLUGINS_LIB_NN_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace editd::nn {

// Runs f(0) .. f(count - 1) on so many threads; whoever is free takes the next. Returns when all are done.
void ForEach(int threads, int64_t count, const std::function<void(int64_t)>& f);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_PARALLEL_H_
