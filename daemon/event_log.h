// The event log: what happened to each job, in dense numbers, on disk, and news of it for those who watch.
//
// Events of an edge are written in the same synced batch as the job's row (see Jobs); those of a running plugin (log
// lines, progress, metrics, text) are not synced, so a power failure may take the last seconds of them, but never an
// edge. Progress is kept at most every 250 ms unless the phase changes or ends.
//
// EventLog lives on the core thread. EventNews is thread-safe: watchers wait on it, then read through the core thread,
// from disk; so a slow watcher costs the daemon nothing and misses nothing.
#ifndef EDITD_DAEMON_EVENT_LOG_H_
#define EDITD_DAEMON_EVENT_LOG_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "absl/time/time.h"
#include "daemon/launcher.h"
#include "editd/v1/job.pb.h"
#include "storage/store.h"

namespace editd::daemon {

class EventNews {
 public:
  // Waits until the job has an event after `seq`, or `timeout` passes. False if the daemon ends.
  bool Wait(uint64_t job, uint64_t seq, absl::Duration timeout);
  void Announce(uint64_t job, uint64_t last_seq);
  // Wakes every watcher for good, and tells it `why`; OK: as a daemon ends that was told to.
  void Stop(const absl::Status& why);
  absl::Status why();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, uint64_t> last_;  // Of jobs that had an event since the start.
  bool stop_ = false;
  absl::Status why_;
};

class EventLog {
 public:
  EventLog(storage::Store* store, EventNews* news) : store_(store), news_(news) {}

  // An event of `job` with the next number and the present time; the caller stores it, then calls Announce.
  v1::Event Next(uint64_t job);
  void Announce(uint64_t job) { news_->Announce(job, LastSeq(job)); }
  // Takes back the numbers given out since the last Announce: what carried them was not stored.
  void Forget(uint64_t job) { last_.erase(job); }
  uint64_t LastSeq(uint64_t job);

  // Stores what a worker said in `attempt`.
  void Append(uint64_t job, uint32_t attempt, const std::vector<WorkerEvent>& events);
  // A line of the daemon's own in the job's log.
  void Note(uint64_t job, uint32_t attempt, v1::LogLine::Level level, const std::string& text);
  // The job runs no more: what is kept for its attempt goes.
  void AttemptOver(uint64_t job) { running_.erase(job); }

 private:
  struct Running {  // Of the present attempt.
    std::chrono::steady_clock::time_point last_progress;
    v1::Progress progress;
    uint64_t lines = 0;
    uint64_t text_bytes = 0;
  };

  bool Wanted(Running* running, const v1::Progress& progress);
  void Store(uint64_t job, const std::vector<v1::Event>& events);

  storage::Store* const store_;
  EventNews* const news_;
  std::map<uint64_t, uint64_t> last_;
  std::map<uint64_t, Running> running_;
};

v1::Event StateEvent(v1::Event event, v1::JobState from, const v1::Job& job);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_EVENT_LOG_H_
