#include "daemon/listener.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {

absl::Status Listener::Bind(const std::string& path, int type) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(StrCat("the socket's path \"", path, "\" has ", path.size(),
                                             " bytes; the system allows ", sizeof(address.sun_path) - 1,
                                             "; set socket or XDG_RUNTIME_DIR to a shorter one"));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const std::string folder = path.substr(0, path.rfind('/'));
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus(errno, StrCat("make ", folder));

  UniqueFd probe(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!probe.valid()) return ErrnoStatus(errno, "socket");
  if (::connect(probe.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0) {
    return absl::AlreadyExistsError(StrCat("another daemon listens on ", path));
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, StrCat("remove ", path));

  UniqueFd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return ErrnoStatus(errno, "socket");
  // The mode of the descriptor becomes the file's, so there is no moment at which others may connect.
  if (::fchmod(socket.get(), 0600) != 0) return ErrnoStatus(errno, StrCat("chmod ", path));
  if (::bind(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, StrCat("bind ", path));
  }
  if (::listen(socket.get(), 128) != 0) return ErrnoStatus(errno, StrCat("listen on ", path));
  socket_ = std::move(socket);
  path_ = path;
  return absl::OkStatus();
}

void Listener::Adopt(UniqueFd socket) { socket_ = std::move(socket); }

absl::Status Listener::Start(OnConnection on_connection) {
  stop_.Reset(::eventfd(0, EFD_CLOEXEC));
  if (!stop_.valid()) return ErrnoStatus(errno, "eventfd");
  on_connection_ = std::move(on_connection);
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "accept");
    Loop();
  });
  return absl::OkStatus();
}

void Listener::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    while (::write(stop_.get(), &one, sizeof(one)) < 0 && errno == EINTR) {
    }
    thread_.join();
  }
  if (!path_.empty()) ::unlink(path_.c_str());
  path_.clear();
  socket_.Reset();
}

void Listener::Loop() {
  for (;;) {
    struct pollfd wait[2] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(wait, 2, -1) < 0 && errno != EINTR) return;
    if (wait[1].revents != 0) return;
    if (wait[0].revents == 0) continue;
    UniqueFd connection(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (connection.valid()) {
      on_connection_(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      spdlog::warn("no connection accepted: {}", std::strerror(errno));
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

}  // namespace editd::daemon
