// editd: the daemon. Takes job specs, runs each in a worker of its own, and keeps versions of models with their
// lineage.
//
// Signals arrive through a signalfd on the main thread, so nothing ever runs inside a handler: SIGTERM ends the daemon
// when the running jobs have ended, a second SIGTERM or a SIGINT at once; SIGHUP changes nothing.
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "daemon/config.h"
#include "daemon/daemon.h"
#include "daemon/logging.h"
#include "daemon/process_launcher.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr const char* kHelp =
    R"(editd: versions of language models, and the jobs that make them

  editd [--state-dir DIR] [--config FILE] [--socket PATH]

  --state-dir DIR   where everything is kept (default $XDG_DATA_HOME/editd or ~/.local/share/editd)
  --config FILE     `key = value` lines; every key stands in share/editd/editd.conf
  --socket PATH     where clients connect (default editd.sock in $XDG_RUNTIME_DIR/editd or in the state directory)
  --version         print the version
  --help            print this

SIGTERM ends it when the running jobs have ended, a second SIGTERM or SIGINT at once.
Example: editd --state-dir /srv/models
)";

absl::Status MakeStateDirectory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return absl::FailedPreconditionError(StrCat("state directory ", path, ": ", error.message()));
  return absl::OkStatus();
}

void HandleSignals(int signals, Daemon* daemon) {
  bool draining = false;
  for (;;) {
    struct signalfd_siginfo signal;
    const ssize_t n = ::read(signals, &signal, sizeof(signal));
    if (n < 0 && errno == EINTR) continue;
    if (n != sizeof(signal)) return;
    switch (signal.ssi_signo) {
      case SIGHUP:
        spdlog::info("SIGHUP: the configuration is read at start only; restart the daemon to change it");
        break;
      case SIGTERM:
        spdlog::info("SIGTERM from pid {}", signal.ssi_pid);
        daemon->RequestEnd(/*drain=*/!draining);
        draining = true;
        break;
      case SIGINT:
        spdlog::info("SIGINT from pid {}", signal.ssi_pid);
        daemon->RequestEnd(/*drain=*/false);
        break;
      default:  // SIGUSR1: our own, the daemon has ended.
        return;
    }
  }
}

absl::Status Run(const std::vector<std::string>& arguments) {
  ASSIGN_OR_RETURN(const Flags flags, ParseFlags(arguments));
  if (flags.help || flags.version) {
    std::fputs(flags.help ? kHelp : "editd " EDITD_VERSION "\n", stdout);
    return absl::OkStatus();
  }
  std::error_code error;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
  ASSIGN_OR_RETURN(Config config, LoadConfig(flags, program));
  ::umask(077);
  RETURN_IF_ERROR(MakeStateDirectory(config.state_dir));
  config.state_dir = std::filesystem::canonical(config.state_dir, error).string();
  RETURN_IF_ERROR(StartLogging(config));

  struct rlimit files;
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  ::sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) ::sigaddset(&set, signal);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);  // Before there is a second thread.
  const UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
  if (!signals.valid()) return ErrnoStatus(errno, "signalfd");

  spdlog::info("editd {} starts, pid {}", EDITD_VERSION, ::getpid());
  auto launcher = std::make_unique<ProcessLauncher>(config.worker);
  ASSIGN_OR_RETURN(const std::unique_ptr<Daemon> daemon, Daemon::Start(std::move(config), std::move(launcher)));
  std::thread handler([&] { HandleSignals(signals.get(), daemon.get()); });
  const absl::Status end = daemon->WaitForEnd();
  ::kill(::getpid(), SIGUSR1);
  handler.join();
  return end;
}

}  // namespace
}  // namespace editd::daemon

int main(int argc, char** argv) {
  const absl::Status status = editd::daemon::Run({argv + 1, argv + argc});
  if (status.ok()) return 0;
  std::fprintf(stderr, "editd: %s\n", std::string(status.message()).c_str());
  return 1;
}
