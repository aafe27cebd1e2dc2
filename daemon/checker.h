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

  // The findings and the estimate of the plugin, named `name`. An error only if there is no answer: INTERNAL if the
  // check crashed or passed its time, else what the plugin says.
  absl::StatusOr<v1::CheckReply> Check(const std::string& name, const v1::CheckRequest& request);

 private:
  struct Warmed {
    Warmed(Launcher* launcher, const std::string& name) : client(launcher, name) {}
    std::mutex mutex;  // Held for the time of a check.
    WorkerClient client;
    std::chrono::steady_clock::time_point last_used;
  };

  std::shared_ptr<Warmed> Find(const std::string& name, const std::string& hash);
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
