#include "daemon/notify.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"

namespace editd::daemon {

void NotifyManager(std::string_view state) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {};
  if (path == nullptr || std::strlen(path) < 2 || std::strlen(path) >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path, std::strlen(path));
  if (path[0] == '@') address.sun_path[0] = '\0';
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return;
  ::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<struct sockaddr*>(&address),
           static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + std::strlen(path)));
}

std::map<std::string, UniqueFd> TakeListenFds() {
  std::map<std::string, UniqueFd> sockets;
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count = std::getenv("LISTEN_FDS");
  const char* const names = std::getenv("LISTEN_FDNAMES");
  int our_pid;
  int fds;
  if (pid == nullptr || count == nullptr || !absl::SimpleAtoi(pid, &our_pid) || our_pid != ::getpid()) return sockets;
  if (!absl::SimpleAtoi(count, &fds) || fds < 0 || fds > 16) return sockets;
  const std::vector<std::string> listed = absl::StrSplit(names == nullptr ? "" : names, ':');
  for (int i = 0; i < fds; ++i) {
    UniqueFd fd(3 + i);
    ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
    const std::string name = static_cast<size_t>(i) < listed.size() && !listed[i].empty() ? listed[i] : "editd";
    sockets[name] = std::move(fd);
  }
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  return sockets;
}

}  // namespace editd::daemon
