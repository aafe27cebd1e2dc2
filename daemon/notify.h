// The service manager's end: readiness and state by datagram (sd_notify), listening sockets by LISTEN_FDS.
//
// Where no service manager started the daemon, all of it does nothing.
#ifndef EDITD_DAEMON_NOTIFY_H_
#define EDITD_DAEMON_NOTIFY_H_

#include <map>
#include <string>
#include <string_view>

#include "storage/base/file.h"

namespace editd::daemon {

// Sends e.g. "READY=1" or "STATUS=2 jobs running" to $NOTIFY_SOCKET.
void NotifyManager(std::string_view state);

// The sockets handed over, by their names in $LISTEN_FDNAMES ("editd", "transfer"). Close-on-exec from now on.
std::map<std::string, UniqueFd> TakeListenFds();

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_NOTIFY_H_
