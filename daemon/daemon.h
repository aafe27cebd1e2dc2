// The daemon: all its parts, put together in the order in which they need each other, and taken apart in reverse.
#ifndef EDITD_DAEMON_DAEMON_H_
#define EDITD_DAEMON_DAEMON_H_

#include <condition_variable>
#include <memory>
#include <mutex>

#include "daemon/checker.h"
#include "daemon/config.h"
#include "daemon/core_thread.h"
#include "daemon/event_log.h"
#include "daemon/jobs.h"
#include "daemon/launcher.h"
#include "daemon/listener.h"
#include "daemon/plugins.h"
#include "daemon/service.h"
#include "daemon/submission.h"
#include "daemon/transfer.h"
#include "storage/store.h"

namespace editd::daemon {

class Daemon {
 public:
  // Opens the store, settles what the last run left, and serves. `launcher` is how workers start.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(Config config, std::unique_ptr<Launcher> launcher);
  // Ends at once if it has not ended.
  ~Daemon();

  // Asks the daemon to end: at once, or when the running jobs have ended. A second request may hurry the first. Any
  // thread.
  void RequestEnd(bool drain);
  // Returns once what was asked for has happened and nothing runs any more. An error if the daemon ended by itself,
  // because its disk failed.
  absl::Status WaitForEnd();

 private:
  Daemon(Config config, std::unique_ptr<Launcher> launcher);
  absl::Status StartParts();
  void OnDiskFailure(const absl::Status& failure);
  void Finish();

  const Config config_;
  const std::unique_ptr<Launcher> launcher_;
  CoreThread core_;
  CoreThread launch_thread_;
  std::unique_ptr<storage::Store> store_;
  EventNews news_;
  std::unique_ptr<EventLog> log_;
  std::unique_ptr<Plugins> plugins_;
  std::unique_ptr<Jobs> jobs_;
  std::unique_ptr<Checker> checker_;
  std::unique_ptr<Submission> submission_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<TransferServer> transfer_;
  Listener listener_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool finished_ = true;  // Guarded by mutex_. False while it serves.
  absl::Status failure_;  // Guarded by mutex_. Why it ends by itself.
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_DAEMON_H_
