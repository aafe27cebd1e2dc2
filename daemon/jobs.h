// Jobs: the table of all jobs and the state machine that each goes through (daemon/JOBS.md).
//
// Every edge is one synced write of the job's row and its event, before anything that follows from it happens: before a
// submit is answered, before a worker is started. Publishing and the edge to SUCCEEDED are one write. So a kill at any
// moment leaves each job in a state from which start-up knows how to go on: what was starting, running or committing
// becomes an INTERRUPTED attempt, and is tried again while attempts are left. Work runs at least once, and is
// published at most once.
//
// Lives on the core thread.
#ifndef EDITD_DAEMON_JOBS_H_
#define EDITD_DAEMON_JOBS_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "daemon/core_thread.h"
#include "daemon/event_log.h"
#include "daemon/job_input.h"
#include "daemon/plugins.h"
#include "daemon/supervisor.h"
#include "storage/store.h"

namespace editd::daemon {

class Jobs {
 public:
  using DiskFailure = std::function<void(const absl::Status&)>;

  // None is owned. Workers start on `launch_thread`. `on_disk_failure` is called, on the core thread, when nothing can
  // be stored any more until the store is opened again; a full disk is no such failure.
  Jobs(const Config& config, storage::Store* store, Launcher* launcher, const Plugins* plugins, EventLog* log,
       CoreThread* core, CoreThread* launch_thread, DiskFailure on_disk_failure);
  ~Jobs();

  // Loads the jobs and settles those that ran when the daemon ended. Nothing starts until Schedule.
  absl::Status Recover();

  // Stores a job that has everything but id, state and times, and queues it; or ends it at once if its recipe is known.
  // A job with the same request id is returned instead.
  absl::StatusOr<v1::Job> Admit(v1::Job job);
  // The job that a request id made before, if any.
  const v1::Job* FindRequest(const std::string& request_id) const;
  // FAILED_PRECONDITION if the job has ended, or is being published.
  absl::StatusOr<v1::Job> Cancel(uint64_t id, const std::string& user);
  // FAILED_PRECONDITION unless the job has failed or was cancelled.
  absl::StatusOr<v1::Job> Retry(uint64_t id, const std::string& user);

  absl::StatusOr<v1::Job> Get(uint64_t id) const;
  std::vector<v1::Job> List(bool active_only, size_t limit) const;  // By id; the newest `limit`, 0: all.
  // Why the job stands where it does, a sentence a line.
  absl::StatusOr<std::vector<std::string>> Why(uint64_t id) const;
  size_t pending() const;
  size_t running() const;
  bool draining() const { return draining_; }

  // Starts what can be started, and says of the rest why it waits.
  void Schedule();
  // Starts nothing more. `idle` is called once nothing runs.
  void Drain(std::function<void()> idle);
  // Ends every running attempt at once; they become INTERRUPTED. `idle` is called once all have ended.
  void KillAll(std::function<void()> idle);

 private:
  class Attempt;  // Observes a supervisor.
  struct Entry {
    v1::Job job;
    std::shared_ptr<Supervisor> supervisor;  // While the job is STARTING, RUNNING or COMMITTING.
    std::shared_ptr<JobInputs> inputs;       // The same.
    std::string staging;
  };

  absl::StatusOr<Entry*> Find(uint64_t id);
  // Takes the edge: the job's new state, its event, one synced write. If the write finds no room, the job goes on,
  // and the write is tried again until it succeeds.
  absl::Status Step(Entry* entry, v1::JobState to, const std::string& message = "");
  absl::Status Save(const v1::Job& job, const std::vector<v1::Event>& events);
  void SaveOwed();

  absl::StatusOr<bool> AnswerFromStore(v1::Job* job);
  void Start(Entry* entry);
  void OnLaunchFailed(uint64_t id, const absl::Status& status);
  void OnStarted(uint64_t id, pid_t pid);
  void OnEvents(uint64_t id, const std::vector<WorkerEvent>& events);
  void OnEnd(uint64_t id, Ended ended);
  absl::Status Publish(Entry* entry, storage::PublishRequest request, const v1::RunReply& reply);
  // The present attempt ended so; the job goes to its next state.
  void EndAttempt(Entry* entry, v1::ExitClass exit_class, const std::string& message);
  void AttemptOver(Entry* entry);
  void CallIfIdle();

  const Config& config_;
  storage::Store* const store_;
  Launcher* const launcher_;
  const Plugins* const plugins_;
  EventLog* const log_;
  CoreThread* const core_;
  CoreThread* const launch_thread_;
  const DiskFailure on_disk_failure_;

  std::map<uint64_t, Entry> entries_;
  std::map<std::string, uint64_t> recipes_;          // Of succeeded jobs that made no version: what a recipe gave.
  std::map<uint64_t, std::vector<v1::Event>> owed_;  // Jobs whose last edge is not on disk yet.
  bool owing_ = false;                               // SaveOwed is due.
  bool looking_ = false;                             // Schedule is due by time.
  bool draining_ = false;
  std::function<void()> idle_;
};

bool HasEnded(v1::JobState state);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_JOBS_H_
