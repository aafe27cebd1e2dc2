#include "daemon/process_launcher.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "daemon/process_worker.h"
#include "storage/base/frame.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr unsigned kSendTimeoutSeconds = 10;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimitsMemory = false;  // A sanitizer reserves more than any limit allows.
#else
constexpr bool kLimitsMemory = true;
#endif

// What of the daemon's environment a worker sees.
bool Passes(std::string_view variable) {
  for (std::string_view prefix :
       {"PATH=", "LANG=", "LC_", "TZ=", "CUDA_", "NVIDIA_", "ASAN_", "UBSAN_", "TSAN_", "LSAN_", "EDITD_WORKER_"}) {
    if (variable.starts_with(prefix)) return true;
  }
  return false;
}

struct Child {
  const char* program;
  char** arguments;
  char** environment;
  const char* directory;
  int null, socket, output, error;  // Become descriptors 0, 3, 1, 2. All of them 4 or above.
  uint64_t memory_bytes;
  pid_t parent;
};

// Between vfork and exec: calls that are safe in a child that shares the parent's memory, and nothing else.
[[noreturn]] void RunChild(const Child& child) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != child.parent) ::_exit(127);
  ::setsid();
  struct sigaction by_default = {};
  by_default.sa_handler = SIG_DFL;
  for (int signal = 1; signal < 32; ++signal) ::sigaction(signal, &by_default, nullptr);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (::dup2(child.null, 0) < 0 || ::dup2(child.output, 1) < 0 || ::dup2(child.error, 2) < 0 ||
      ::dup2(child.socket, 3) < 0) {
    ::_exit(127);
  }
  ::syscall(SYS_close_range, 4, ~0u, 0);
  const struct rlimit no_core = {0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  if (kLimitsMemory && child.memory_bytes > 0) {
    const struct rlimit memory = {child.memory_bytes, child.memory_bytes};
    if (::setrlimit(RLIMIT_DATA, &memory) != 0) ::_exit(127);
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(127);
  if (::chdir(child.directory) != 0) ::_exit(127);
  ::execve(child.program, child.arguments, child.environment);
  ::_exit(errno == ENOENT ? 126 : 127);
}

// Moves a descriptor to 4 or above, so that dup2 onto 0 to 3 overwrites none that is still needed.
absl::StatusOr<UniqueFd> Above(UniqueFd fd) {
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 4));
  if (!moved.valid()) return ErrnoStatus(errno, "a worker's descriptor");
  return moved;
}

struct Pipe {
  UniqueFd read, write;
};
absl::StatusOr<Pipe> MakePipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ErrnoStatus(errno, "pipe");
  Pipe pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
  ::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK);
  ASSIGN_OR_RETURN(pipe.write, Above(std::move(pipe.write)));
  return pipe;
}

void PreferForOutOfMemory(pid_t pid) {
  UniqueFd fd(::open(StrCat("/proc/", pid, "/oom_score_adj").c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.valid() && ::write(fd.get(), "500", 3) < 0) return;  // Only a preference.
}

}  // namespace

ProcessLauncher::ProcessLauncher(std::string program, std::vector<std::string> arguments)
    : program_(std::move(program)), arguments_(std::move(arguments)) {
  spawner_.Start();
}

ProcessLauncher::~ProcessLauncher() { spawner_.Stop(); }

absl::StatusOr<std::unique_ptr<Worker>> ProcessLauncher::Launch(const LaunchOptions& options, WorkerSink sink) {
  if (::access(program_.c_str(), X_OK) != 0) return ErrnoStatus(errno, StrCat("start ", program_));
  ASSIGN_OR_RETURN(auto sockets, FrameSocket::Pair());
  ASSIGN_OR_RETURN(UniqueFd theirs, Above(std::move(sockets.second)));
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  ASSIGN_OR_RETURN(Pipe error, MakePipe());
  ASSIGN_OR_RETURN(UniqueFd null, Above(UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))));

  std::vector<char*> arguments = {const_cast<char*>(program_.c_str())};
  for (const std::string& argument : arguments_) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (Passes(*variable)) environment.push_back(*variable);
  }
  environment.push_back(nullptr);

  const Child child = {program_.c_str(),     arguments.data(),
                       environment.data(),   options.directory.empty() ? "/" : options.directory.c_str(),
                       null.get(),           theirs.get(),
                       output.write.get(),   error.write.get(),
                       options.memory_bytes, ::getpid()};
  int fork_errno = 0;
  const pid_t pid = spawner_.Call([&child, &fork_errno] {
    const pid_t made = ::vfork();
    if (made == 0) RunChild(child);
    fork_errno = errno;
    return made;
  });
  if (pid < 0) return ErrnoStatus(fork_errno, StrCat("start ", program_));
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd.valid()) {
    const absl::Status status = ErrnoStatus(errno, "pidfd_open");
    ::kill(pid, SIGKILL);
    return status;
  }
  PreferForOutOfMemory(pid);
  auto socket = std::make_unique<FrameSocket>(std::move(sockets.first));
  RETURN_IF_ERROR(socket->SetSendTimeout(kSendTimeoutSeconds));
  return std::make_unique<ProcessWorker>(pid, std::move(pidfd), std::move(socket), std::move(output.read),
                                         std::move(error.read), std::move(sink));
}

}  // namespace editd::daemon
