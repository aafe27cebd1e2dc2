// The daemon's process: started in the background, and waited for until it serves or until it is gone.
#ifndef EDITD_CLIENT_DAEMON_PROCESS_H_
#define EDITD_CLIENT_DAEMON_PROCESS_H_

#include <sys/types.h>

#include <string>

#include "client/paths.h"
#include "storage/base/file.h"
#include "storage/base/status.h"

namespace editd::client {

// Starts the program `editd` beside this one, in a session of its own, with its output appended to editd.log in the
// state directory (made if it is not there), and waits until it answers. FAILED_PRECONDITION has the end of the log.
absl::StatusOr<pid_t> StartDaemon(const Paths& paths, double limit_seconds);

// Where StartDaemon puts the daemon's output.
std::string DaemonLog(const Paths& paths);

// Waits for a process, not necessarily a child. A descriptor of a process that was there when it was opened.
absl::StatusOr<UniqueFd> OpenProcess(pid_t pid);
// True: it ended. False: it still runs after `milliseconds`.
bool WaitForProcess(int pidfd, int milliseconds);

}  // namespace editd::client

#endif  // EDITD_CLIENT_DAEMON_PROCESS_H_
