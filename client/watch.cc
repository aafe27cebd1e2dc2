#include "client/watch.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "client/format.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kTick = std::chrono::milliseconds(100);
constexpr auto kLongestPause = std::chrono::milliseconds(500);
constexpr auto kSettled = std::chrono::seconds(1);  // A stream that lives so long is one, events or not.
constexpr size_t kQueueLimit = 4096;                // A reader faster than the terminal waits.

// One connection's stream, read by a thread of its own.
class Stream {
 public:
  Stream(Connection* connection, const v1::WatchJobRequest& request) : connection_(connection) {
    thread_ = std::thread([this, request] {
      const absl::Status status = connection_->WatchJob(request, [this](const v1::Event& event) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return events_.size() < kQueueLimit || abandoned_; });
        events_.push_back(event);
        changed_.notify_all();
      });
      std::lock_guard lock(mutex_);
      status_ = status;
      ended_ = true;
      changed_.notify_all();
    });
  }
  ~Stream() {
    {
      std::lock_guard lock(mutex_);
      abandoned_ = true;
      changed_.notify_all();
    }
    connection_->CancelStreams();
    thread_.join();
  }

  // Waits for events at most `limit`. Returns true once the stream has ended and every event was taken.
  bool Take(std::chrono::milliseconds limit, std::deque<v1::Event>* events) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, limit, [this] { return !events_.empty() || ended_; });
    events->clear();
    events->swap(events_);
    changed_.notify_all();
    return ended_ && events->empty();
  }
  // Once Take returned true.
  const absl::Status& status() const { return status_; }

 private:
  Connection* const connection_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::Event> events_;  // Guarded by mutex_, as are the next three.
  bool ended_ = false;
  bool abandoned_ = false;
  absl::Status status_;
  std::thread thread_;
};

}  // namespace

bool IsFinal(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED || state == v1::JOB_STATE_CANCELLED;
}

absl::StatusOr<v1::Job> WatchJob(const WatchOptions& options) {
  const auto stopped = [&] { return options.stop != nullptr && options.stop->load(); };
  uint64_t next = std::max<uint64_t>(1, options.from_seq);
  Clock::time_point lost_at{};
  bool lost = false;
  auto pause = kTick;
  for (;;) {
    absl::Status status;
    const auto connection = Connection::Open(options.socket);
    if (connection.ok()) {
      v1::WatchJobRequest request;
      request.set_id(options.job);
      request.set_from_seq(next);
      request.set_follow(options.follow);
      Stream stream(connection->get(), request);
      const Clock::time_point opened = Clock::now();
      std::deque<v1::Event> events;
      while (!stream.Take(kTick, &events)) {
        if (stopped()) return absl::CancelledError("interrupted");
        if (lost && (!events.empty() || Clock::now() - opened > kSettled)) {
          options.on_trouble("the daemon is back");
          lost = false;
          pause = kTick;
        }
        for (const v1::Event& event : events) {
          if (event.seq() < next) continue;
          next = event.seq() + 1;
          options.on_event(event);
        }
        options.on_tick();
      }
      status = stream.status();
      if (status.ok()) {
        const auto job = (*connection)->GetJob(options.job);
        if (job.ok() && (IsFinal(job->job().state()) || !options.follow)) return job->job();
        // The stream ended early, as when a daemon ends: the job goes on when the next one is there.
        status = job.ok() ? absl::UnavailableError("the daemon ended the watch") : job.status();
      }
    } else {
      status = connection.status();
    }
    // Not by us: it is how gRPC ends the calls of a daemon that ends.
    if (absl::IsCancelled(status)) status = absl::UnavailableError("the daemon ended the watch");
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
    if (!lost) {
      // Without a first answer there is nothing to wait for.
      if (!connection.ok() && next == std::max<uint64_t>(1, options.from_seq) && lost_at == Clock::time_point{}) {
        return status;
      }
      lost = true;
      lost_at = Clock::now();
      options.on_trouble(StrCat(status.message(), "; waiting for it, Ctrl-C to stop"));
    }
    const bool gone = !connection.ok();
    const double limit = gone ? options.gone_seconds : options.give_up_seconds;
    if (Clock::now() - lost_at > std::chrono::duration<double>(limit)) {
      return absl::UnavailableError(StrCat(gone ? "the daemon is gone: " : "", status.message(),
                                           gone ? ", and none came back within " : ", and it did not come back within ",
                                           FormatSeconds(limit), "; job ", options.job,
                                           " is stored and goes on when a daemon starts; its log tells more"));
    }
    for (auto waited = std::chrono::milliseconds(0); waited < pause; waited += kTick) {
      if (stopped()) return absl::CancelledError("interrupted");
      std::this_thread::sleep_for(kTick);
      options.on_tick();
    }
    pause = std::min(pause * 2, std::chrono::milliseconds(kLongestPause));
  }
}

}  // namespace editd::client
