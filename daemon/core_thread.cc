#include "daemon/core_thread.h"

#include <pthread.h>

namespace editd::daemon {

void CoreThread::Start() {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "core");
    Loop();
  });
}

void CoreThread::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CoreThread::Post(Task task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void CoreThread::PostAfter(absl::Duration delay, Task task) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    timed_.emplace(std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(delay), std::move(task));
  }
  wake_.notify_one();
}

void CoreThread::Loop() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    const auto now = std::chrono::steady_clock::now();
    while (!timed_.empty() && timed_.begin()->first <= now && !stop_) {
      tasks_.push_back(std::move(timed_.begin()->second));
      timed_.erase(timed_.begin());
    }
    if (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;  // What it holds goes before the lock is taken again.
      lock.lock();
    } else if (stop_) {
      return;
    } else if (timed_.empty()) {
      wake_.wait(lock);
    } else {
      wake_.wait_until(lock, timed_.begin()->first);
    }
  }
}

}  // namespace editd::daemon
