// A listener: a unix socket that only its owner may connect to, and the thread that accepts its connections.
//
// The socket file is made with mode 0600 in a folder of mode 0700. A file left behind by a dead daemon is replaced; one
// that somebody answers on is not.
#ifndef EDITD_DAEMON_LISTENER_H_
#define EDITD_DAEMON_LISTENER_H_

#include <functional>
#include <string>
#include <thread>

#include "storage/base/file.h"
#include "storage/base/status.h"

namespace editd::daemon {

class Listener {
 public:
  using OnConnection = std::function<void(UniqueFd)>;

  Listener() = default;
  ~Listener() { Stop(); }

  // Binds `path`; `type` is SOCK_STREAM or SOCK_SEQPACKET. ALREADY_EXISTS if a process listens there.
  absl::Status Bind(const std::string& path, int type);
  // Takes over a socket that listens already (LISTEN_FDS); its file is not ours to remove.
  void Adopt(UniqueFd socket);
  // Calls `on_connection` on a thread of its own for each connection until Stop.
  absl::Status Start(OnConnection on_connection);
  // Accepts nothing more and removes the socket's file.
  void Stop();

 private:
  void Loop();

  UniqueFd socket_;
  UniqueFd stop_;  // An eventfd.
  std::string path_;
  OnConnection on_connection_;
  std::thread thread_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_LISTENER_H_
