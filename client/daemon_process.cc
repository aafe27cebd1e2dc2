#include "client/daemon_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "client/connection.h"
#include "client/format.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kLogTail = 2000;

std::string LogFrom(const std::string& path, uint64_t start) {
  auto content = ReadWholeFile(path);
  if (!content.ok()) return "";
  std::string text = content->substr(std::min<size_t>(start, content->size()));
  if (text.size() > kLogTail) text = text.substr(text.size() - kLogTail);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

// The state directory may hold models that are nobody else's business.
absl::Status MakePrivateFolder(const std::string& path) {
  const std::filesystem::path folder(path);
  std::error_code error;
  std::filesystem::create_directories(folder.parent_path(), error);
  if (error) return ErrnoStatus(error.value(), StrCat("make ", folder.parent_path().string()));
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return ErrnoStatus(errno, StrCat("make ", path));
  return absl::OkStatus();
}

}  // namespace

std::string DaemonLog(const Paths& paths) { return paths.state_dir + "/editd.log"; }

absl::StatusOr<UniqueFd> OpenProcess(pid_t pid) {
  UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("process ", pid));
  return fd;
}

bool WaitForProcess(int pidfd, int milliseconds) {
  pollfd item = {pidfd, POLLIN, 0};
  return ::poll(&item, 1, milliseconds) > 0;
}

absl::StatusOr<pid_t> StartDaemon(const Paths& paths, double limit_seconds) {
  const std::string program = ProgramDirectory() + "/editd";
  if (::access(program.c_str(), X_OK) != 0) return ErrnoStatus(errno, program);
  RETURN_IF_ERROR(MakePrivateFolder(paths.state_dir));
  const std::string log = DaemonLog(paths);
  const UniqueFd out(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!out.valid()) return ErrnoStatus(errno, StrCat("open ", log));
  ASSIGN_OR_RETURN(const uint64_t log_start, FileSize(out.get(), log));
  const UniqueFd in(::open("/dev/null", O_RDONLY | O_CLOEXEC));

  std::vector<std::string> arguments = {program};
  if (paths.state_dir_named) arguments.insert(arguments.end(), {"--state-dir", paths.state_dir});
  if (paths.socket_named) arguments.insert(arguments.end(), {"--socket", paths.socket});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);

  const pid_t pid = ::fork();
  if (pid < 0) return ErrnoStatus(errno, "fork");
  if (pid == 0) {  // Only what is safe after a fork with threads.
    ::setsid();
    ::dup2(in.get(), STDIN_FILENO);
    ::dup2(out.get(), STDOUT_FILENO);
    ::dup2(out.get(), STDERR_FILENO);
    ::execv(program.c_str(), argv.data());
    ::_exit(127);
  }
  const Clock::time_point deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit_seconds));
  while (Clock::now() < deadline) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) == pid) {
      return absl::FailedPreconditionError(
          StrCat("the daemon ended at once; its log says:\n", LogFrom(log, log_start)));
    }
    const auto connection = Connection::Open(paths.socket);
    if (connection.ok()) {
      const auto answer = (*connection)->GetStatus();
      if (answer.ok()) return static_cast<pid_t>(answer->pid());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return absl::DeadlineExceededError(StrCat("the daemon (process ", pid, ") does not answer after ",
                                            FormatSeconds(limit_seconds), "; its log is ", log));
}

}  // namespace editd::client
