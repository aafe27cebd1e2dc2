#include "plugins/lib/nn/parallel.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace editd::nn {
namespace {

class Pool {
 public:
  void Run(int threads, int64_t count, const std::function<void(int64_t)>& f) {
    std::lock_guard one_at_a_time(run_);
    {
      std::lock_guard lock(mutex_);
      for (; workers_ < threads - 1; ++workers_) std::thread(&Pool::Work, this, workers_, generation_).detach();
      f_ = &f;
      count_ = count;
      next_ = 0;
      wanted_ = busy_ = threads - 1;
      ++generation_;
    }
    begin_.notify_all();
    TakePieces();
    std::unique_lock lock(mutex_);
    end_.wait(lock, [&] { return busy_ == 0; });
  }

 private:
  void Work(int index, uint64_t seen) {
    std::unique_lock lock(mutex_);
    for (;;) {
      begin_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (index >= wanted_) continue;
      lock.unlock();
      TakePieces();
      lock.lock();
      if (--busy_ == 0) end_.notify_one();
    }
  }
  void TakePieces() {
    for (int64_t i = next_++; i < count_; i = next_++) (*f_)(i);
  }

  std::mutex run_;
  std::mutex mutex_;  // Guards all below; f_ and count_ stand still while pieces are taken.
  std::condition_variable begin_, end_;
  uint64_t generation_ = 0;
  int workers_ = 0, wanted_ = 0, busy_ = 0;
  const std::function<void(int64_t)>* f_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_ = 0;
};

}  // namespace

void ForEach(int threads, int64_t count, const std::function<void(int64_t)>& f) {
  // A call that needs no help wakes nobody. The pool is never destroyed: its threads sleep until the process ends.
  static Pool* const pool = new Pool;
  if (threads <= 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) f(i);
    return;
  }
  pool->Run(threads, count, f);
}

}  // namespace editd::nn
