// Threads: a pool of this process's own, that sleeps when there is nothing to do.
//
// OpenMP's pool, which libtorch brings, spins while it waits and gives each thread its share beforehand: on a machine
// that others use too, all wait for the one thread that was put aside. Here whoever is free takes the next piece.
//
// Thread-safe; one ForEach at a time goes ahead, others wait. Not to be called from within `f`.
#ifndef EDITD_PLUGINS_LIB_NN_PARALLEL_H_
#define EDITD_PLUGINS_LIB_NN_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace editd::nn {

// Runs f(0) .. f(count - 1) on so many threads, the caller's among them. Returns when all are done.
void ForEach(int threads, int64_t count, const std::function<void(int64_t)>& f);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_PARALLEL_H_
