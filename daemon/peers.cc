#include "daemon/peers.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "absl/strings/numbers.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

std::string UserName(uid_t uid) {
  std::vector<char> buffer(16384);
  struct passwd entry;
  struct passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(uid);
}

}  // namespace

absl::StatusOr<Peer> PeerOf(int socket) {
  struct ucred credentials;
  socklen_t size = sizeof(credentials);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrnoStatus(errno, "getsockopt(SO_PEERCRED)");
  }
  return Peer{credentials.uid, credentials.gid, credentials.pid, UserName(credentials.uid)};
}

absl::StatusOr<UniqueFd> Peers::Add(UniqueFd connection) {
  ASSIGN_OR_RETURN(Peer peer, PeerOf(connection.get()));
  struct rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const int last = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
  const int first = last / 2;
  std::lock_guard<std::mutex> lock(mutex_);
  if (next_ < first || next_ >= last - 64) next_ = first;
  UniqueFd moved(::fcntl(connection.get(), F_DUPFD_CLOEXEC, next_));
  if (!moved.valid()) return ErrnoStatus(errno, "a connection's descriptor");
  next_ = moved.get() + 1;
  peers_[moved.get()] = std::move(peer);
  return moved;
}

absl::StatusOr<Peer> Peers::Find(std::string_view grpc_peer) const {
  int fd;
  if (grpc_peer.starts_with("fd:") && absl::SimpleAtoi(ToAbsl(grpc_peer.substr(3)), &fd)) {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = peers_.find(fd);
    if (found != peers_.end()) return found->second;
  }
  return absl::UnauthenticatedError(StrCat("the peer \"", grpc_peer, "\" is no connection of the daemon's socket"));
}

}  // namespace editd::daemon
