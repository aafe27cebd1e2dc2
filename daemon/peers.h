// Peers: who is at the other end of each connection.
//
// gRPC 1.51 tells a handler only the number of the connection's descriptor ("fd:714"). The listener asked the kernel
// for the peer's credentials when it accepted, and notes them here under that number. Descriptors are numbered upwards
// through a range of their own, so that a number comes back only after thousands of connections.
//
// Thread-safe.
#ifndef EDITD_DAEMON_PEERS_H_
#define EDITD_DAEMON_PEERS_H_

#include <sys/types.h>

#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/status.h"

namespace editd::daemon {

struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::string user;  // The uid's name, or its number if it has none.
};

// The credentials of the process that connected (SO_PEERCRED).
absl::StatusOr<Peer> PeerOf(int socket);

class Peers {
 public:
  // Moves the connection to a number of its own and remembers its peer under it.
  absl::StatusOr<UniqueFd> Add(UniqueFd connection);
  // `grpc_peer` is ServerContext::peer(). UNAUTHENTICATED if it is no connection of ours.
  absl::StatusOr<Peer> Find(std::string_view grpc_peer) const;

 private:
  mutable std::mutex mutex_;
  std::map<int, Peer> peers_;
  int next_ = 0;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_PEERS_H_
