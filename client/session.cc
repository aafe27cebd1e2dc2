#include "client/session.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "absl/strings/cord.h"
#include "client/message_json.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

constexpr char kNextPayload[] = "editctl/next";

}  // namespace

absl::StatusOr<Paths> Session::FindPaths() const { return client::FindPaths(state_dir, socket, ::getenv); }

absl::StatusOr<Connection*> Session::Connect() {
  if (connection_ == nullptr) {
    ASSIGN_OR_RETURN(const Paths paths, FindPaths());
    auto opened = Connection::Open(paths.socket);
    if (absl::IsUnavailable(opened.status())) {
      return absl::UnavailableError(StrCat(opened.status().message(), "; start it with: editctl ",
                                           state_dir.empty() ? "" : StrCat("--state-dir ", state_dir, " "),
                                           "daemon start"));
    }
    if (!opened.ok()) return opened.status();
    connection_ = *std::move(opened);
  }
  return connection_.get();
}

absl::StatusOr<Transfer*> Session::ConnectTransfer() {
  if (transfer_ == nullptr) {
    ASSIGN_OR_RETURN(const Paths paths, FindPaths());
    std::string path = paths.transfer_socket;
    if (::access(path.c_str(), F_OK) != 0) {  // A configuration file may have put it elsewhere.
      ASSIGN_OR_RETURN(Connection * connection, Connect());
      ASSIGN_OR_RETURN(const v1::GetStatusResponse status, connection->GetStatus());
      path = status.transfer_socket();
    }
    transfer_ = std::make_unique<Transfer>(path);
  }
  return transfer_.get();
}

absl::StatusOr<v1::Plugin> Session::GetPlugin(const std::string& name) {
  ASSIGN_OR_RETURN(Connection * connection, Connect());
  auto response = connection->GetPlugin(name);
  if (!response.ok()) return WithNext(response.status(), "editctl plugins");
  if (tried_.insert(name).second) RETURN_IF_ERROR(types_.Add(name, response->plugin().descriptors()));
  return response->plugin();
}

void Session::TryLoadTypes(const std::string& plugin) {
  if (plugin.empty() || tried_.contains(plugin)) return;
  if (!GetPlugin(plugin).ok()) tried_.insert(plugin);
}

void Session::Print(std::string_view text) const { std::fwrite(text.data(), 1, text.size(), stdout); }

void Session::PrintJson(const google::protobuf::Message& message) const { Print(ToJson(message, &types_) + "\n"); }

void Session::Note(std::string_view text) const {
  if (quiet) return;
  std::fflush(stdout);
  std::fwrite(text.data(), 1, text.size(), stderr);
}

bool Session::terminal() const { return ::isatty(STDOUT_FILENO) == 1; }

bool Session::coloured() const {
  if (colour != "auto") return colour == "always";
  const char* const refused = ::getenv("NO_COLOR");
  const char* const kind = ::getenv("TERM");
  return terminal() && (refused == nullptr || *refused == '\0') && kind != nullptr && std::string_view(kind) != "dumb";
}

size_t Session::width() const {
  if (!terminal()) return 0;
  winsize size = {};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string Session::Colour(std::string_view code, std::string_view text) const {
  return coloured() ? StrCat("\x1b[", code, "m", text, "\x1b[0m") : std::string(text);
}

absl::Status WithNext(const absl::Status& status, std::string_view command) {
  absl::Status copy = status;
  if (!copy.ok() && NextOf(copy).empty()) copy.SetPayload(kNextPayload, absl::Cord(ToAbsl(command)));
  return copy;
}

std::string NextOf(const absl::Status& status) {
  const auto next = status.GetPayload(kNextPayload);
  return next.has_value() ? std::string(*next) : "";
}

}  // namespace editd::client
