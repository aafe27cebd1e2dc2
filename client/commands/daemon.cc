// daemon start, stop, status.
#include <CLI/CLI.hpp>
#include <memory>

#include "client/commands/commands.h"
#include "client/daemon_process.h"
#include "client/format.h"
#include "client/table.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

constexpr double kStartLimit = 60;  // Seconds: recovery of a large store included.

absl::StatusOr<int> RunStart(Session* session) {
  ASSIGN_OR_RETURN(const Paths paths, session->FindPaths());
  pid_t pid = 0;
  bool started = false;
  if (const auto connection = Connection::Open(paths.socket); connection.ok()) {
    const auto status = (*connection)->GetStatus();
    if (!status.ok()) return status.status();
    pid = static_cast<pid_t>(status->pid());
  } else {
    ASSIGN_OR_RETURN(pid, StartDaemon(paths, kStartLimit));
    started = true;
  }
  if (session->json) {
    session->Print(StrCat("{\"pid\":", pid, ",\"started\":", started ? "true" : "false", "}\n"));
  } else if (session->quiet) {
    session->Print(StrCat(pid, "\n"));
  } else {
    session->Print(
        StrCat("the daemon ", started ? "runs" : "runs already", ", process ", pid, ", log ", DaemonLog(paths), "\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunStop(Session* session, bool now) {
  ASSIGN_OR_RETURN(const Paths paths, session->FindPaths());
  const auto opened = Connection::Open(paths.socket);
  if (absl::IsUnavailable(opened.status())) {  // That is what was wanted.
    if (session->json) session->Print("{\"stopped\":false}\n");
    session->Note(StrCat("no daemon at ", paths.socket, "\n"));
    return kExitOk;
  }
  if (!opened.ok()) return opened.status();
  ASSIGN_OR_RETURN(const v1::GetStatusResponse status, (*opened)->GetStatus());
  ASSIGN_OR_RETURN(const UniqueFd process, OpenProcess(static_cast<pid_t>(status.pid())));
  const absl::Status asked = (*opened)->Shutdown(!now);
  if (!asked.ok() && !absl::IsUnavailable(asked)) return asked;  // It may be gone before the answer is.
  if (!now && status.running() > 0) {
    session->Note(StrCat("waiting for ", Plural(status.running(), "running job"),
                         "; editctl daemon stop --now ends at once and runs them again at the next start\n"));
  }
  while (!WaitForProcess(process.get(), 1000)) {
  }
  if (session->json) {
    session->Print(StrCat("{\"stopped\":true,\"pid\":", status.pid(), "}\n"));
  } else {
    session->Print(StrCat("the daemon, process ", status.pid(), ", has ended\n"));
  }
  return kExitOk;
}

absl::StatusOr<int> RunStatus(Session* session) {
  ASSIGN_OR_RETURN(Connection * connection, session->Connect());
  ASSIGN_OR_RETURN(const v1::GetStatusResponse status, connection->GetStatus());
  if (session->json) {
    session->PrintJson(status);
    return kExitOk;
  }
  Table table({{""}, {""}});
  table.Row({"process", StrCat(status.pid(), status.draining() ? ", draining" : "")});
  table.Row({"version", status.version()});
  table.Row({"runs for", FormatSeconds(static_cast<double>(status.uptime_seconds()))});
  table.Row({"state", status.state_dir()});
  table.Row({"socket", status.socket()});
  table.Row({"jobs", StrCat(status.running(), " running, ", status.pending(), " pending")});
  table.Row({"store",
             StrCat(Plural(status.versions(), "version"), ", ", FormatBytes(static_cast<double>(status.store_bytes())),
                    ", ", FormatBytes(static_cast<double>(status.disk_free_bytes())), " free")});
  session->Print(table.ToString(session->width()));
  return kExitOk;
}

}  // namespace

void AddDaemonCommands(CLI::App* app, Session* session) {
  CLI::App* const daemon =
      AddCommand(app, "daemon", "Start, stop or look at the daemon", kStore, "editctl daemon start");
  daemon->require_subcommand(1);
  CLI::App* const start = AddCommand(daemon, "start", "Start it in the background, if it does not run yet",
                                     "Subcommands", "editctl --state-dir ./state daemon start");
  start->callback([=] { session->command = [=] { return RunStart(session); }; });
  auto now = std::make_shared<bool>(false);
  CLI::App* const stop =
      AddCommand(daemon, "stop", "End it when the running jobs have ended", "Subcommands", "editctl daemon stop --now");
  stop->add_flag("--now", *now, "At once; running jobs run again at the next start");
  stop->callback([=] { session->command = [=] { return RunStop(session, *now); }; });
  CLI::App* const status =
      AddCommand(daemon, "status", "Tell how it is", "Subcommands", "editctl daemon status --json");
  status->callback([=] { session->command = [=] { return RunStatus(session); }; });
}

}  // namespace editd::client
