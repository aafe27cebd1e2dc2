// Checker: a warm worker for each plugin, which validates specs and estimates costs at submit.
//
// Starting a worker and loading a plugin takes longer than a submit may; so the worker stays, and ends when nobody has
// asked for a while. A plugin that crashes or hangs in its check takes only its own worker along.
//
// Thread-safe; a check of one plugin waits for another of the same plugin. Not for the core thread.
#ifndef EDITD_DAEMON_CHECKER_H_
#define EDITD_DAEMON_CHECKER_H_

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/time/time.h"
#include "daemon/launcher.h"
#include "daemon/worker_client.h"
#include "editd/v1/worker.pb.h"

namespace editd::daemon {

class Checker {
 public:
  Checker(Launcher* launcher, absl::Duration timeout, absl::Duration idle);
  ~Checker();

  // The plugin's findings and estimate. An error only if there is no answer.
  absl::StatusOr<v1::CheckReply> Check(const v1::CheckRequest& request);
  // Starts the plugin's worker ahead of the first check.
  void Warm(const std::string& plugin_path, const std::string& plugin_hash);

 private:
  struct Warmed {
    explicit Warmed(Launcher* launcher) : client(launcher) {}
    std::mutex mutex;  // Held for the time of a check.
    WorkerClient client;
    std::chrono::steady_clock::time_point last_used;
  };

  std::shared_ptr<Warmed> Find(const std::string& plugin_hash);
  void EndIdle();

  Launcher* const launcher_;
  const absl::Duration timeout_;
  const absl::Duration idle_;
  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stop_ = false;
  std::map<std::string, std::shared_ptr<Warmed>> workers_;  // By plugin hash.
  std::thread reaper_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_CHECKER_H_
