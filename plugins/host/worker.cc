#include "plugins/host/worker.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <filesystem>
#include <thread>

#include "plugins/host/checkpoint.h"
#include "plugins/host/elf_note.h"
#include "plugins/host/inputs.h"
#include "plugins/host/job.h"
#include "plugins/host/outputs.h"
#include "plugins/host/plugin_file.h"
#include "plugins/host/reporter.h"
#include "plugins/host/sandbox.h"
#include "storage/base/memory.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::host {
namespace {

// Set by a StopRequest and by SIGTERM; lock-free, so a signal handler may.
std::atomic<bool> stop{false};
static_assert(std::atomic<bool>::is_always_lock_free);

constexpr unsigned kDefaultHeartbeatSeconds = 5;

void SetError(const absl::Status& status, v1::WorkerError* error) {
  error->set_code(static_cast<int>(status.code()));
  error->set_message(ToValidUtf8(ToStd(status.message()), 64 << 10));
}

// The folder that holds a file.
std::string FolderOf(const std::string& path) { return std::filesystem::path(path).parent_path(); }

// Folders that the installation's own libraries, and the plugin, name for theirs: those may be loaded late.
std::vector<std::string> LibraryFolders(const std::string& plugin, const std::string& library_folder) {
  std::vector<std::string> objects = {plugin}, out = {FolderOf(plugin), library_folder};
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(library_folder, ignored)) {
    if (entry.path().extension() == ".so") objects.push_back(entry.path());
  }
  for (const std::string& object : objects) {
    const auto file = MappedFile::Open(object);
    if (!file.ok()) continue;
    const auto folders = ReadLibraryFolders(file->view(), FolderOf(object));
    if (folders.ok()) out.insert(out.end(), folders->begin(), folders->end());
  }
  return out;
}

}  // namespace

// All that a plugin's run uses.
struct Worker::RunState {
  RunState(FrameSocket* socket, std::unique_ptr<Inputs> job_inputs, UniqueFd staging, UniqueFd last_checkpoint,
           const v1::RunRequest& request)
      : inputs(std::move(job_inputs)),
        checkpoint(Checkpoint::Owner(request.input().job(), request.recipe(), request.plugin_hash()),
                   UniqueFd(::fcntl(staging.get(), F_DUPFD_CLOEXEC, 4)), std::move(last_checkpoint)),
        outputs(inputs.get(), std::move(staging), request.require_finite(), request.input().threads()),
        reporter(socket),
        job{inputs.get(), &outputs, &checkpoint, &reporter, &stop, {}, {}, {}, 0, 0} {}

  const std::unique_ptr<Inputs> inputs;
  Checkpoint checkpoint;
  Outputs outputs;
  Reporter reporter;
  edit_job job;
};

absl::Status Worker::Send(const v1::FromWorker& frame) { return socket_.Send(frame.SerializeAsString()); }

absl::StatusOr<const edit_plugin_v1*> Worker::Plugin(const std::string& path, const std::string& hash, int staging) {
  if (plugin_ != nullptr && path != plugin_path_) {
    return absl::FailedPreconditionError(StrCat("this worker serves ", plugin_path_, "; another is needed for ", path));
  }
  if (plugin_ == nullptr || (!hash.empty() && hash != plugin_hash_)) {
    // A second time only if the hash was not looked at before: loading again gives the same object.
    ASSIGN_OR_RETURN(plugin_, LoadPlugin(path, hash));
    plugin_path_ = path;
    plugin_hash_ = hash;
  }
  RETURN_IF_ERROR(EnterSandboxOnce(path, staging));
  return plugin_;
}

absl::Status Worker::EnterSandboxOnce(const std::string& path, int staging) {
  if (in_sandbox_) {
    if (staging < 0) return sandbox_status_;
    return absl::FailedPreconditionError("a worker that has answered checks cannot run a job; start another");
  }
  in_sandbox_ = true;
  Sandbox sandbox;
  sandbox.readable = LibraryFolders(path, library_folder_);
  sandbox.staging = staging;
  std::vector<std::string> missing;
  sandbox_status_ = Annotate(EnterSandbox(sandbox, &missing), "the worker's sandbox");
  RETURN_IF_ERROR(sandbox_status_);
  if (staging >= 0) {
    for (const std::string& name : missing) {
      v1::FromWorker frame;
      frame.mutable_log()->set_level(EDIT_LOG_DEBUG);
      frame.mutable_log()->set_text(StrCat("this kernel has no ", name, "; the plugin runs without it"));
      RETURN_IF_ERROR(Send(frame));
    }
  }
  return absl::OkStatus();
}

v1::DescribeReply Worker::Describe(const v1::DescribeRequest& request) {
  v1::DescribeReply reply;
  const auto plugin = Plugin(request.plugin_path(), "", -1);
  if (plugin.ok()) {
    reply.set_plugin(DescribePlugin(**plugin));
  } else {
    SetError(plugin.status(), reply.mutable_error());
  }
  return reply;
}

v1::CheckReply Worker::Check(const v1::CheckRequest& request) {
  v1::CheckReply reply;
  const absl::Status status = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const edit_plugin_v1* plugin, Plugin(request.plugin_path(), request.plugin_hash(), -1));
    ASSIGN_OR_RETURN(const std::unique_ptr<Inputs> inputs, Inputs::Create(request.input(), {}, false));
    Reporter reporter(nullptr);
    edit_job job{inputs.get(), nullptr, nullptr, &reporter, &stop, {}, {}, {}, 0, 0};
    const absl::Status checked = CallPlugin(plugin->check, &job, request.input().spec());
    reply.mutable_findings()->Add(job.findings.begin(), job.findings.end());
    reply.mutable_notes()->Add(job.notes.begin(), job.notes.end());
    reply.set_memory_bytes(job.memory_bytes);
    reply.set_disk_bytes(job.disk_bytes);
    return checked;
  }();
  if (!status.ok()) SetError(status, reply.mutable_error());
  return reply;
}

absl::Status Worker::RunPlugin(const v1::RunRequest& request, std::vector<UniqueFd> descriptors, v1::RunReply* reply,
                               bool* refused) {
  if (request.staging() >= descriptors.size()) {
    return absl::InvalidArgumentError("the run request came without its staging folder");
  }
  UniqueFd staging = std::move(descriptors[request.staging()]);
  UniqueFd last_checkpoint;
  if (request.checkpoint() > 0 && request.checkpoint() < descriptors.size()) {
    last_checkpoint = std::move(descriptors[request.checkpoint()]);
  }
  ASSIGN_OR_RETURN(const edit_plugin_v1* plugin, Plugin(request.plugin_path(), request.plugin_hash(), staging.get()));
  ASSIGN_OR_RETURN(std::unique_ptr<Inputs> inputs, Inputs::Create(request.input(), std::move(descriptors), true));
  run_ = new RunState(&socket_, std::move(inputs), std::move(staging), std::move(last_checkpoint), request);
  Outputs& outputs = run_->outputs;
  Reporter& reporter = run_->reporter;

  // From here on there are other threads.
  std::thread listener([this] {
    for (;;) {
      const auto frame = socket_.Receive();
      // The daemon is gone: nobody can take the result.
      if (!frame.ok()) ::_exit(kExitProtocol);
      v1::ToWorker message;
      if (!message.ParseFromString(frame->message)) ::_exit(kExitProtocol);
      if (message.has_stop()) stop = true;
    }
  });
  listener.detach();
  reporter.StartHeartbeat(request.heartbeat_seconds() == 0 ? kDefaultHeartbeatSeconds : request.heartbeat_seconds());
  absl::Status status = CallPlugin(plugin->run, &run_->job, request.input().spec());
  if (status.ok()) {
    Reporter::Work work(&reporter);
    status = outputs.Finish((plugin->flags & EDIT_PLUGIN_MAKES_VERSION) != 0, plugin->result_type, reply);
  }
  reporter.StopHeartbeat();
  reporter.Flush();
  if (outputs.refused()) {
    *refused = true;
    status = outputs.refusal();
  }
  return status;
}

void Worker::Run(const v1::RunRequest& request, std::vector<UniqueFd> descriptors) {
  v1::RunReply reply;
  bool refused = false;
  const absl::Status status = RunPlugin(request, std::move(descriptors), &reply, &refused);
  v1::FromWorker frame;
  if (status.ok()) {
    *frame.mutable_run() = std::move(reply);
  } else {
    SetError(status, frame.mutable_run()->mutable_error());
    frame.mutable_run()->mutable_error()->set_invalid_output(refused);
  }
  frame.mutable_run()->set_peak_rss_bytes(PeakResidentBytes("self"));
  if (const absl::Status sent = Send(frame); !sent.ok()) ::_exit(kExitProtocol);
}

int Worker::Serve() {
  struct sigaction action = {};
  action.sa_handler = [](int) { stop = true; };
  ::sigaction(SIGTERM, &action, nullptr);
  std::vector<UniqueFd> descriptors;
  for (;;) {
    auto frame = socket_.Receive();
    if (!frame.ok()) return absl::IsUnavailable(frame.status()) ? 0 : kExitProtocol;
    v1::ToWorker request;
    if (!request.ParseFromString(frame->message)) return kExitProtocol;
    for (UniqueFd& fd : frame->descriptors) descriptors.push_back(std::move(fd));
    if (request.has_more_descriptors()) continue;
    v1::FromWorker reply;
    switch (request.kind_case()) {
      case v1::ToWorker::kDescribe:
        *reply.mutable_describe() = Describe(request.describe());
        break;
      case v1::ToWorker::kCheck:
        *reply.mutable_check() = Check(request.check());
        break;
      case v1::ToWorker::kRun:
        Run(request.run(), std::move(descriptors));
        return 0;
      case v1::ToWorker::kStop:
        return 0;
      default:
        return kExitProtocol;
    }
    descriptors.clear();
    if (!Send(reply).ok()) return kExitProtocol;
  }
}

}  // namespace editd::host
