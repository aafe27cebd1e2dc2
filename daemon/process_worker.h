// ProcessWorker: a running child process, and the thread that listens to it.
//
// The thread polls the frame socket, the two pipes and the pidfd. When the process has ended, it kills what is left of
// its session, reads what was still under way, and delivers WorkerExit as the last event.
#ifndef EDITD_DAEMON_PROCESS_WORKER_H_
#define EDITD_DAEMON_PROCESS_WORKER_H_

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "daemon/launcher.h"
#include "storage/base/file.h"
#include "storage/base/frame.h"

namespace editd::daemon {

class ProcessWorker : public Worker {
 public:
  ProcessWorker(pid_t pid, UniqueFd pidfd, std::unique_ptr<FrameSocket> socket, UniqueFd output, UniqueFd error,
                WorkerSink sink);
  ~ProcessWorker() override;

  absl::Status Send(const v1::ToWorker& message, std::span<const int> descriptors) override;
  void Signal(int signal) override;
  pid_t pid() const override { return pid_; }

 private:
  // One of the worker's pipes; what came of an unfinished line is kept.
  struct Pipe {
    UniqueFd fd;
    bool error;
    std::string rest;
  };

  void Loop();
  void ReadFrames(std::vector<WorkerEvent>* events);
  void ReadLines(Pipe* pipe, bool last, std::vector<WorkerEvent>* events);

  const pid_t pid_;
  const UniqueFd pidfd_;
  const std::unique_ptr<FrameSocket> socket_;
  const WorkerSink sink_;
  Pipe pipes_[2];
  bool socket_open_ = true;
  uint64_t peak_rss_bytes_ = 0;
  std::string protocol_error_;

  std::mutex mutex_;  // Guards reaped_: after it is set, the pid may be another process's.
  bool reaped_ = false;
  std::thread thread_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_PROCESS_WORKER_H_
