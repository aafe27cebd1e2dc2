// Exits: what the end of an attempt means, and whether the job is tried again.
//
// Pure functions; the table stands in daemon/JOBS.md.
#ifndef EDITD_DAEMON_EXITS_H_
#define EDITD_DAEMON_EXITS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "daemon/launcher.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/worker.pb.h"

namespace editd::daemon {

// The exit status by which edit-worker says that an allocation failed.
inline constexpr int kWorkerOutOfMemory = 86;

// Why the daemon ended a worker, if it did.
enum class Ending { kByItself, kCancelled, kTimedOut, kHung, kShutdown };

struct Ended {
  Ending why = Ending::kByItself;
  std::optional<v1::RunReply> reply;
  WorkerExit exit;
  absl::Duration time_limit;
  absl::Duration hung_after;
  uint64_t memory_limit = 0;
};

struct Verdict {
  v1::ExitClass exit_class = v1::EXIT_CLASS_UNSPECIFIED;
  std::string message;  // For the user; empty if OK.
};

Verdict Classify(const Ended& ended);

// Whether a job whose last attempt ended with `exit_class` starts again by itself. Attempts before the user's last
// RetryJob do not count.
bool StartsAgain(const v1::Job& job, v1::ExitClass exit_class);

// "3.1 GB": as people read it.
std::string SizeText(uint64_t bytes);
// "90 s", "2.5 h".
std::string DurationText(absl::Duration duration);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_EXITS_H_
