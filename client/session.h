// Session: what all commands of one run share: the global options, the connection (made when first needed), the
// plugins' types (fetched when first needed), and where output goes.
//
// Thread-compatible: commands run on the main thread.
#ifndef EDITD_CLIENT_SESSION_H_
#define EDITD_CLIENT_SESSION_H_

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "client/connection.h"
#include "client/paths.h"
#include "client/plugin_types.h"
#include "client/transfer.h"
#include "storage/base/status.h"

namespace editd::client {

// Exit statuses of editctl.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // The command, or the job that it waited for.
inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;  // Ctrl-C while waiting.

class Session {
 public:
  // The global options, as parsed.
  std::string state_dir;
  std::string socket;
  bool json = false;
  bool quiet = false;
  std::string colour = "auto";  // "auto", "always", "never"

  // Set by the command that was given; run by main.
  std::function<absl::StatusOr<int>()> command;

  absl::StatusOr<Paths> FindPaths() const;
  // UNAVAILABLE tells how to start a daemon.
  absl::StatusOr<Connection*> Connect();
  absl::StatusOr<Transfer*> ConnectTransfer();

  // The plugin, with its types added to types().
  absl::StatusOr<v1::Plugin> GetPlugin(const std::string& name);
  // Adds a plugin's types if they can be had: for printing, which does without them, too.
  void TryLoadTypes(const std::string& plugin);
  PluginTypes* types() { return &types_; }

  // To standard output.
  void Print(std::string_view text) const;
  void PrintJson(const google::protobuf::Message& message) const;  // A line.
  // To standard error; nothing with --quiet.
  void Note(std::string_view text) const;

  bool terminal() const;                                                   // Standard output is one.
  bool coloured() const;                                                   // Standard output takes colours.
  size_t width() const;                                                    // The terminal's columns; 0 in a pipe.
  std::string Colour(std::string_view code, std::string_view text) const;  // `code` as in "1;31".

 private:
  std::unique_ptr<Connection> connection_;
  std::unique_ptr<Transfer> transfer_;
  PluginTypes types_;
  std::set<std::string> tried_;  // Plugins whose types were asked for.
};

// The status with the command to try next, which main prints after the message.
absl::Status WithNext(const absl::Status& status, std::string_view command);
std::string NextOf(const absl::Status& status);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SESSION_H_
