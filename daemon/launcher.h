// Launcher: how the daemon gets a worker process.
//
// The seam between supervising and spawning: production starts edit-worker (ProcessLauncher), tests a worker of theirs.
// A worker speaks the frames of editd/v1/worker.proto (plugins/host/FRAMES.md) and ends by itself after RunReply.
//
// The sink is called on a thread of the worker's own, one call at a time; the worker's further output waits until it
// returns, so a talkative worker is slowed down, and the daemon's memory stays bounded.
#ifndef EDITD_DAEMON_LAUNCHER_H_
#define EDITD_DAEMON_LAUNCHER_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "editd/v1/worker.pb.h"
#include "storage/base/status.h"

namespace editd::daemon {

// A line that the worker wrote to its standard output or error.
struct OutputLine {
  bool error;
  std::string text;
};

// The worker's end; the last event. All frames and lines that it sent have come before.
struct WorkerExit {
  int status = 0;  // The exit status, or minus the signal.
  uint64_t peak_rss_bytes = 0;
  std::string protocol_error;  // Set if the worker sent what is no frame; it was killed.
};

using WorkerEvent = std::variant<v1::FromWorker, OutputLine, WorkerExit>;
using WorkerSink = std::function<void(std::vector<WorkerEvent>)>;

struct LaunchOptions {
  uint64_t memory_bytes = 0;  // RLIMIT_DATA; 0: none.
  std::string directory;      // Working directory; empty: "/".
};

// A running worker. Destruction kills it if it still runs, and returns when its last event has been delivered.
class Worker {
 public:
  virtual ~Worker() = default;
  virtual absl::Status Send(const v1::ToWorker& message, std::span<const int> descriptors) = 0;
  // SIGTERM or SIGKILL, to the worker and every process that it started.
  virtual void Signal(int signal) = 0;
  virtual pid_t pid() const = 0;
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  virtual absl::StatusOr<std::unique_ptr<Worker>> Launch(const LaunchOptions& options, WorkerSink sink) = 0;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_LAUNCHER_H_
