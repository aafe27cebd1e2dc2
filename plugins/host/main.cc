// edit-worker: one attempt of one job, or checks of one plugin. Started by editd with the frame socket as descriptor 3.
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <new>

#include "plugins/host/worker.h"

namespace {

constexpr int kSocket = 3;

// An allocation that fails inside or outside of a plugin: what is left works on half of what it needs, so the process
// ends, and the exit status says why.
[[noreturn]] void OutOfMemory() {
  constexpr char kText[] = "out of memory\n";
  (void)!::write(STDERR_FILENO, kText, sizeof(kText) - 1);
  ::_exit(editd::host::kExitOutOfMemory);
}

}  // namespace

int main(int argc, char** argv) {
  std::set_new_handler(&OutOfMemory);
  int type = 0;
  socklen_t size = sizeof(type);
  if (argc != 1 || ::getsockopt(kSocket, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
    std::fprintf(stderr, "%s: runs a plugin for editd, which starts it; there is nothing to do by hand\n", argv[0]);
    return 64;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // What was printed before a crash is told.
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  int status;
  try {
    // Never deleted: see below.
    auto* worker =
        new editd::host::Worker(editd::UniqueFd(kSocket), self.parent_path().parent_path() / "lib" / "editd");
    status = worker->Serve();
  } catch (const std::bad_alloc&) {
    OutOfMemory();
  }
  // No destructors of plugins and their libraries: some do not survive the end.
  std::fflush(nullptr);
  ::_exit(status);
}
