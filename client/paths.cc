#include "client/paths.h"

#include <filesystem>

namespace editd::client {

absl::StatusOr<Paths> FindPaths(std::string state_dir, std::string socket,
                                const std::function<const char*(const char*)>& environment) {
  const auto get = [&](const char* name) {
    const char* const value = environment(name);
    return std::string(value == nullptr ? "" : value);
  };
  Paths paths;
  if (state_dir.empty()) state_dir = get("EDITD_STATE_DIR");
  paths.state_dir_named = !state_dir.empty();
  paths.socket_named = !socket.empty();
  if (state_dir.empty()) {
    std::string data = get("XDG_DATA_HOME");
    if (data.empty() && !get("HOME").empty()) data = get("HOME") + "/.local/share";
    if (data.empty() && socket.empty()) {
      return absl::InvalidArgumentError("no state directory: HOME is not set; give --state-dir DIR");
    }
    state_dir = data + "/editd";
  }
  std::error_code ignored;
  paths.state_dir = std::filesystem::absolute(state_dir, ignored).lexically_normal().string();
  const std::string runtime = get("XDG_RUNTIME_DIR");
  const std::string sockets = !paths.state_dir_named && !runtime.empty() ? runtime + "/editd" : paths.state_dir;
  paths.socket =
      socket.empty() ? sockets + "/editd.sock" : std::filesystem::absolute(socket, ignored).lexically_normal().string();
  paths.transfer_socket = paths.socket.substr(0, paths.socket.rfind('/') + 1) + "transfer.sock";
  return paths;
}

std::string ProgramDirectory() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : program.parent_path().string();
}

}  // namespace editd::client
