// ProcessLauncher: starts edit-worker as a child process.
//
// The child gets its frame socket as descriptor 3, /dev/null as standard input, and pipes as standard output and error;
// every other descriptor is closed. It leads a session of its own, dies with the daemon (PDEATHSIG), can gain no
// privileges, leaves no core file, and may hold at most memory_bytes of private memory (RLIMIT_DATA: mapped inputs do
// not count). The worker itself narrows its rights further before it loads a plugin.
//
// A parent-death signal fires when the *thread* that made the child ends, so one thread, which lives as long as this
// object, makes all children. Launch may be called from any thread.
#ifndef EDITD_DAEMON_PROCESS_LAUNCHER_H_
#define EDITD_DAEMON_PROCESS_LAUNCHER_H_

#include <memory>
#include <string>
#include <vector>

#include "daemon/core_thread.h"
#include "daemon/launcher.h"

namespace editd::daemon {

class ProcessLauncher : public Launcher {
 public:
  // `program` is the worker's path; `arguments` follow it.
  explicit ProcessLauncher(std::string program, std::vector<std::string> arguments = {});
  ~ProcessLauncher() override;

  absl::StatusOr<std::unique_ptr<Worker>> Launch(const LaunchOptions& options, WorkerSink sink) override;

 private:
  const std::string program_;
  const std::vector<std::string> arguments_;
  CoreThread spawner_;  // The thread that makes the children.
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_PROCESS_LAUNCHER_H_
