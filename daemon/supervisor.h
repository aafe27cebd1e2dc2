// A supervisor: one attempt of a job, from the start of its worker to the worker's end.
//
// It starts the worker on the launch thread (spawning and sending the inputs may block), then watches it on the core
// thread: passes on what the worker says, ends it when its time is up, when no sign of life comes, when the user
// cancels, or when the daemon ends; and says at last how it ended. Ending a worker goes in steps: StopRequest, SIGTERM
// at half of the grace period, SIGKILL at its end. The result counts only once the process is gone, so that nothing can
// still write to what is being published.
//
// Lives on the core thread; kept alive by the tasks that it has posted.
#ifndef EDITD_DAEMON_SUPERVISOR_H_
#define EDITD_DAEMON_SUPERVISOR_H_

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "daemon/core_thread.h"
#include "daemon/exits.h"
#include "daemon/launcher.h"
#include "storage/base/file.h"

namespace editd::daemon {

// What a worker is started with. The descriptors are those that `message` names.
struct Start {
  v1::ToWorker message;
  std::vector<UniqueFd> descriptors;
};

struct SupervisorOptions {
  LaunchOptions launch;
  absl::Duration time_limit = absl::Hours(24);
  absl::Duration hung_after = absl::Seconds(60);
  absl::Duration grace = absl::Seconds(30);
  // Opens what the worker needs; called on the launch thread.
  std::function<absl::StatusOr<Start>()> prepare;
};

// Called on the core thread, in this order: OnStarted, then any number of OnEvents and at most one OnReply, OnEnd last.
// Or OnLaunchFailed alone.
class SupervisorObserver {
 public:
  virtual ~SupervisorObserver() = default;
  virtual void OnLaunchFailed(const absl::Status& status) = 0;
  virtual void OnStarted(pid_t pid) = 0;
  // Frames other than replies, and lines of output.
  virtual void OnEvents(const std::vector<WorkerEvent>& events) = 0;
  // A result without an error has come; the worker is about to end.
  virtual void OnReply() = 0;
  virtual void OnEnd(Ended ended) = 0;
};

class Supervisor : public std::enable_shared_from_this<Supervisor> {
 public:
  // `observer` is let go of after OnEnd or OnLaunchFailed.
  Supervisor(SupervisorOptions options, Launcher* launcher, CoreThread* core, CoreThread* launch_thread,
             std::shared_ptr<SupervisorObserver> observer);

  void Start();
  // Asks the worker to stop, and ends it when the grace period is over.
  void Cancel() { End(Ending::kCancelled, options_.grace); }
  // Ends it at once.
  void Kill() { End(Ending::kShutdown, absl::ZeroDuration()); }

 private:
  void Launched(absl::StatusOr<std::unique_ptr<Worker>> worker, absl::Status sent);
  void Handle(std::vector<WorkerEvent> events);
  void End(Ending why, absl::Duration grace);
  void After(absl::Duration delay, void (Supervisor::*step)());
  void CheckTime();
  void CheckLife();
  void Terminate() {
    if (worker_ != nullptr) worker_->Signal(15);
  }
  void Destroy() {
    if (worker_ != nullptr) worker_->Signal(9);
  }
  void Finish(const WorkerExit& exit);

  const SupervisorOptions options_;
  Launcher* const launcher_;
  CoreThread* const core_;
  CoreThread* const launch_thread_;
  std::shared_ptr<SupervisorObserver> observer_;

  std::unique_ptr<Worker> worker_;
  absl::Status sent_;
  Ended ended_;
  std::chrono::steady_clock::time_point last_sign_;
  bool over_ = false;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_SUPERVISOR_H_
