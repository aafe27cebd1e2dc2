// WorkerClient: asks a worker one thing and waits for the answer (describe, check).
//
// What the plugin writes meanwhile goes into the daemon's log.
//
// Thread-compatible: one caller at a time. Not for the core thread, which never waits.
#ifndef EDITD_DAEMON_WORKER_CLIENT_H_
#define EDITD_DAEMON_WORKER_CLIENT_H_

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "daemon/launcher.h"

namespace editd::daemon {

class WorkerClient {
 public:
  // `plugin` names it in the log.
  WorkerClient(Launcher* launcher, std::string plugin) : launcher_(launcher), plugin_(std::move(plugin)) {}

  // Starts the worker if none runs, sends, and waits for a describe, check or run reply. After an error the worker is
  // ended, and the next call starts another. UNAVAILABLE if the worker ended without an answer; the message says how
  // and has the last line that it wrote.
  absl::StatusOr<v1::FromWorker> Call(const v1::ToWorker& request, absl::Duration timeout);
  // Ends the worker.
  void Reset() { worker_.reset(); }
  bool running() const { return worker_ != nullptr; }

 private:
  struct Answer {  // Shared with the worker's thread.
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<v1::FromWorker> reply;
    std::optional<WorkerExit> exit;
    std::string last_line;
    int lines = 0;
  };

  Launcher* const launcher_;
  const std::string plugin_;
  std::shared_ptr<Answer> answer_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_WORKER_CLIENT_H_
