// The core thread: the one thread that owns the store, the queue and the lineage.
//
// Every other thread (handlers of RPCs, readers of workers, the transfer socket) hands it tasks and, where it needs an
// answer, waits. So nothing in the daemon's domain code takes a lock, and what one task does is seen whole by the next.
// A task must not wait for another thread.
//
// Post, PostAfter and Call may be called from any thread; Call not from the core thread itself.
#ifndef EDITD_DAEMON_CORE_THREAD_H_
#define EDITD_DAEMON_CORE_THREAD_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>

#include "absl/time/time.h"

namespace editd::daemon {

class CoreThread {
 public:
  using Task = std::function<void()>;

  CoreThread() = default;
  ~CoreThread() { Stop(); }

  void Start();
  // Runs what has been posted, drops what waits for its time, and ends the thread. What is posted later never runs.
  void Stop();

  void Post(Task task);
  // Runs `task` once `delay` has passed.
  void PostAfter(absl::Duration delay, Task task);

  // Runs `f` on the core thread and returns its result.
  template <typename F>
  auto Call(F&& f) {
    using Result = std::invoke_result_t<F>;
    // Shared: the caller may be gone before set_value returns.
    auto promise = std::make_shared<std::promise<Result>>();
    std::future<Result> future = promise->get_future();
    Post([&f, promise] {
      if constexpr (std::is_void_v<Result>) {
        f();
        promise->set_value();
      } else {
        promise->set_value(f());
      }
    });
    return future.get();
  }

 private:
  void Loop();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> tasks_;
  std::multimap<std::chrono::steady_clock::time_point, Task> timed_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_CORE_THREAD_H_
