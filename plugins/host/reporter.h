// What a worker tells the daemon while a plugin runs: log, metrics, progress, text, and that it is alive.
//
// A plugin may say more than anybody reads. Progress is passed on ten times a second and at each phase's beginning and
// end; log lines and metrics at a steady rate with room for a burst, and what was left out is counted and said. Of text
// nothing is left out: pieces are put together until their time has come.
//
// A heartbeat is sent only if the plugin has done something since the last one: called the host, used the processor, or
// waited for files. So a plugin that hangs is told apart from one that works long, though this thread still runs.
//
// Thread-safe.
#ifndef EDITD_PLUGINS_HOST_REPORTER_H_
#define EDITD_PLUGINS_HOST_REPORTER_H_

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "editd/v1/worker.pb.h"
#include "storage/base/frame.h"

namespace editd::host {

class Reporter {
 public:
  // Without a socket (a spec is checked) everything is dropped.
  explicit Reporter(FrameSocket* socket) : socket_(socket) {}
  ~Reporter() { StopHeartbeat(); }
  Reporter(const Reporter&) = delete;
  Reporter& operator=(const Reporter&) = delete;

  void Progress(std::string_view phase, uint64_t done, uint64_t total, std::string_view unit);
  void Log(int level, std::string_view text);
  void Metric(std::string_view name, double value, int64_t step);
  void Text(uint32_t stream, std::string_view piece);
  // The plugin called the host.
  void Alive() { calls_.fetch_add(1, std::memory_order_relaxed); }
  // While one of these exists the host works for the plugin, if only by waiting for the disk: that is a sign of life.
  class Work {
   public:
    explicit Work(Reporter* reporter) : reporter_(reporter) { reporter_->works_.fetch_add(1); }
    ~Work() {
      reporter_->Alive();
      reporter_->works_.fetch_sub(1);
    }
    Work(const Work&) = delete;
    Work& operator=(const Work&) = delete;

   private:
    Reporter* const reporter_;
  };

  void StartHeartbeat(unsigned seconds);
  // No frame of this object is sent after it returns, but for the last words: how many lines were left out.
  void StopHeartbeat();
  // Says how many lines were left out, if any, where progress stood last, and what is left of texts.
  void Flush();

 private:
  using Clock = std::chrono::steady_clock;

  // So many frames a second over time, and a burst at once.
  class Budget {
   public:
    bool Take(Clock::time_point now);

   private:
    double left_ = kBurst;
    Clock::time_point at_{};
    static constexpr double kBurst = 2000, kPerSecond = 200;
  };

  void Send(const v1::FromWorker& frame);
  void SayLeftOut();         // With mutex_ held.
  void SendText(bool last);  // The same. What of a character has come waits for the rest, unless it is the last.
  void Beat(unsigned seconds);

  FrameSocket* const socket_;
  std::atomic<uint64_t> calls_{0};
  std::atomic<int> works_{0};

  std::mutex mutex_;  // Guards what follows.
  Budget log_budget_, metric_budget_;
  uint64_t log_left_out_ = 0, metrics_left_out_ = 0;
  std::string phase_;
  Clock::time_point progress_at_{};
  v1::FromWorker progress_held_;           // Not sent yet; kind is unset if there is none.
  std::map<uint32_t, std::string> texts_;  // By stream: not sent yet.
  size_t texts_size_ = 0;                  // Bytes in texts_.
  Clock::time_point text_at_{};

  std::mutex heart_mutex_;
  std::condition_variable heart_changed_;
  bool heart_stops_ = false;  // Guarded by heart_mutex_.
  std::thread heart_;
};

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_REPORTER_H_
