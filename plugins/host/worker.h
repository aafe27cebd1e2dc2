// Worker: serves one daemon on one socket, with one plugin. plugins/host/FRAMES.md tells the order of frames.
//
// A worker answers describe and check requests until the socket closes, or one run request and then ends. All requests
// name the same plugin, since two plugins in one process could not be told apart by libraries that keep registries.
#ifndef EDITD_PLUGINS_HOST_WORKER_H_
#define EDITD_PLUGINS_HOST_WORKER_H_

#include <string>

#include "editd/plugin.h"
#include "editd/v1/worker.pb.h"
#include "storage/base/frame.h"

namespace editd::host {

// Exit statuses, besides 0.
inline constexpr int kExitProtocol = 85;     // What came on the socket was no request.
inline constexpr int kExitOutOfMemory = 86;  // An allocation failed.

class Worker {
 public:
  // `library_folder` is the installation's lib/editd.
  Worker(UniqueFd socket, std::string library_folder)
      : socket_(std::move(socket)), library_folder_(std::move(library_folder)) {}

  // Serves until the socket closes or a run is over; the exit status of the process. It may not return: the process
  // ends if the daemon goes away during a run.
  int Serve();

 private:
  absl::StatusOr<const edit_plugin_v1*> Plugin(const std::string& path, const std::string& hash, int staging);
  v1::DescribeReply Describe(const v1::DescribeRequest& request);
  v1::CheckReply Check(const v1::CheckRequest& request);
  void Run(const v1::RunRequest& request, std::vector<UniqueFd> descriptors);
  absl::Status RunPlugin(const v1::RunRequest& request, std::vector<UniqueFd> descriptors, v1::RunReply* reply,
                         bool* refused);
  absl::Status EnterSandboxOnce(const std::string& path, int staging);
  absl::Status Send(const v1::FromWorker& frame);

  struct RunState;

  FrameSocket socket_;
  const std::string library_folder_;
  const edit_plugin_v1* plugin_ = nullptr;
  std::string plugin_path_;
  std::string plugin_hash_;
  bool in_sandbox_ = false;
  absl::Status sandbox_status_;  // Without a sandbox nothing runs.
  RunState* run_ = nullptr;      // Never deleted: threads that a plugin leaves behind may look at it until the end.
};

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_WORKER_H_
