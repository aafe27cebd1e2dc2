#include "daemon/process_worker.h"

#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "absl/strings/str_split.h"
#include "storage/base/memory.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::daemon {
namespace {

constexpr size_t kMaxLine = 8 << 10;
constexpr size_t kMaxBatch = 64;

}  // namespace

ProcessWorker::ProcessWorker(pid_t pid, UniqueFd pidfd, std::unique_ptr<FrameSocket> socket, UniqueFd output,
                             UniqueFd error, WorkerSink sink)
    : pid_(pid),
      pidfd_(std::move(pidfd)),
      socket_(std::move(socket)),
      sink_(std::move(sink)),
      pipes_{{std::move(output), false, ""}, {std::move(error), true, ""}} {
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "worker");
    Loop();
  });
}

ProcessWorker::~ProcessWorker() {
  Signal(SIGKILL);
  thread_.join();
}

absl::Status ProcessWorker::Send(const v1::ToWorker& message, std::span<const int> descriptors) {
  static const std::string carrier = [] {
    v1::ToWorker more;
    more.mutable_more_descriptors();
    return more.SerializeAsString();
  }();
  return socket_->Send(message.SerializeAsString(), descriptors, carrier);
}

void ProcessWorker::Signal(int signal) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (reaped_) return;
  if (::kill(-pid_, signal) != 0) ::kill(pid_, signal);  // Before setsid there is no such group yet.
}

void ProcessWorker::ReadFrames(std::vector<WorkerEvent>* events) {
  while (socket_open_ && events->size() < kMaxBatch) {
    auto frame = socket_->TryReceive();
    if (!frame.ok()) {
      socket_open_ = false;
      if (frame.status().code() != absl::StatusCode::kUnavailable)
        protocol_error_ = std::string(frame.status().message());
      break;
    }
    if (!frame->has_value()) return;
    v1::FromWorker message;
    if (!message.ParseFromString((*frame)->message)) {
      socket_open_ = false;
      protocol_error_ = "a frame is not a FromWorker message";
      break;
    }
    // rusage would count the daemon's own memory, which the child shared until its exec; so we look while it lives.
    if (message.has_heartbeat() || message.has_check()) {
      peak_rss_bytes_ = std::max(peak_rss_bytes_, PeakResidentBytes(StrCat(pid_)));
    } else if (message.has_run()) {  // It may be gone by now; it has looked itself.
      peak_rss_bytes_ = std::max(peak_rss_bytes_, message.run().peak_rss_bytes());
    }
    events->push_back(std::move(message));
  }
  if (!protocol_error_.empty()) Signal(SIGKILL);
}

void ProcessWorker::ReadLines(Pipe* pipe, bool last, std::vector<WorkerEvent>* events) {
  char buffer[16 << 10];
  while (pipe->fd.valid() && events->size() < kMaxBatch) {
    const ssize_t n = ::read(pipe->fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) {
      pipe->fd.Reset();
      break;
    }
    pipe->rest.append(buffer, static_cast<size_t>(n));
    size_t begin = 0;
    for (;;) {
      size_t end = pipe->rest.find('\n', begin);
      const bool whole = end != std::string::npos;
      if (!whole && pipe->rest.size() - begin < kMaxLine) break;
      if (!whole || end - begin > kMaxLine) end = begin + kMaxLine;
      events->push_back(OutputLine{pipe->error, ToValidUtf8(std::string_view(pipe->rest).substr(begin, end - begin))});
      begin = end + (end < pipe->rest.size() && pipe->rest[end] == '\n' ? 1 : 0);
    }
    pipe->rest.erase(0, begin);
  }
  if ((last || !pipe->fd.valid()) && !pipe->rest.empty() && events->size() < kMaxBatch) {
    events->push_back(OutputLine{pipe->error, ToValidUtf8(pipe->rest)});
    pipe->rest.clear();
  }
}

void ProcessWorker::Loop() {
  for (;;) {
    struct pollfd wait[4] = {{pidfd_.get(), POLLIN, 0},
                             {socket_open_ ? socket_->fd() : -1, POLLIN, 0},
                             {pipes_[0].fd.get(), POLLIN, 0},
                             {pipes_[1].fd.get(), POLLIN, 0}};
    if (::poll(wait, 4, -1) < 0) continue;  // EINTR.
    std::vector<WorkerEvent> events;
    if (wait[0].revents != 0) break;
    if (wait[1].revents != 0) ReadFrames(&events);
    if (wait[2].revents != 0) ReadLines(&pipes_[0], false, &events);
    if (wait[3].revents != 0) ReadLines(&pipes_[1], false, &events);
    if (!events.empty()) sink_(std::move(events));
  }
  // The process is a zombie: its pid is still ours, so what it started can be killed by its session's group.
  ::kill(-pid_, SIGKILL);
  WorkerExit exit;
  int status = 0;
  struct rusage usage = {};
  {
    std::lock_guard<std::mutex> lock(mutex_);
    while (::wait4(pid_, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    reaped_ = true;
  }
  std::vector<WorkerEvent> events;
  do {
    events.clear();
    ReadFrames(&events);
    ReadLines(&pipes_[0], true, &events);
    ReadLines(&pipes_[1], true, &events);
    if (!events.empty()) sink_(events);
  } while (events.size() >= kMaxBatch / 2);
  exit.status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  exit.peak_rss_bytes = peak_rss_bytes_ > 0 ? peak_rss_bytes_ : static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  exit.protocol_error = protocol_error_;
  sink_({exit});
}

}  // namespace editd::daemon
