// Paths: where a daemon's state and sockets lie. The rules are the daemon's own (daemon/config.h): a state directory
// that is named brings its sockets along; the default one has them in $XDG_RUNTIME_DIR/editd where that is set.
#ifndef EDITD_CLIENT_PATHS_H_
#define EDITD_CLIENT_PATHS_H_

#include <functional>
#include <string>

#include "storage/base/status.h"

namespace editd::client {

struct Paths {
  std::string state_dir;
  std::string socket;
  std::string transfer_socket;
  bool state_dir_named = false;  // By flag or environment: a daemon that is started must be told, too.
  bool socket_named = false;
};

// `state_dir` and `socket` as the command line has them; empty: not given. `environment` is getenv, or a test's.
absl::StatusOr<Paths> FindPaths(std::string state_dir, std::string socket,
                                const std::function<const char*(const char*)>& environment);

// The folder of the running program.
std::string ProgramDirectory();

}  // namespace editd::client

#endif  // EDITD_CLIENT_PATHS_H_
