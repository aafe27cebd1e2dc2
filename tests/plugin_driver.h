// Runs a built plugin in a real edit-worker, as the daemon would, without a daemon: for the tests of plugins.
//
// What one run made can be the input of the next, so a test can import, then export.
#ifndef EDITD_TESTS_PLUGIN_DRIVER_H_
#define EDITD_TESTS_PLUGIN_DRIVER_H_

#include <fcntl.h>
#include <google/protobuf/any.pb.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "editd/v1/worker.pb.h"
#include "storage/base/file.h"
#include "storage/base/frame.h"
#include "storage/base/id.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"

namespace editd {

// What a plugin made. Its files lie in `staging`.
struct PluginRun {
  v1::RunReply reply;
  std::vector<std::string> log;
  int64_t peak_kib = 0;  // Memory, mapped files included.
  double seconds = 0;
  std::string staging;
  struct Place {
    std::string pack;
    uint64_t offset = 0;
  };
  std::map<std::string, Place> places;        // Where tensors lie, by id: this run's and its inputs'.
  std::map<std::string, std::string> assets;  // Where files lie, by asset.

  std::string error() const { return reply.error().message(); }
  const v1::OutputTensor* Tensor(std::string_view name) const {
    for (const v1::OutputTensor& tensor : reply.tensors()) {
      if (tensor.name() == name) return &tensor;
    }
    return nullptr;
  }
  // The bytes of a tensor, new or an input's.
  std::string TensorBytes(std::string_view name) const {
    const v1::OutputTensor* tensor = Tensor(name);
    if (tensor == nullptr) return "no such tensor";
    const auto place = places.find(tensor->id());
    if (place == places.end()) return "no such bytes";
    const auto pack = MappedFile::Open(place->second.pack);
    return pack.ok() ? std::string(pack->view().substr(place->second.offset, tensor->size())) : "no pack";
  }
  std::string FileContent(std::string_view name) const {
    for (const v1::OutputFile& file : reply.files()) {
      if (file.name() != name) continue;
      return *ReadWholeFile(file.file().empty() ? assets.at(file.asset()) : staging + "/" + file.file());
    }
    return "no such file";
  }
  template <typename Message>
  Message Result() const {
    google::protobuf::Any any;
    any.ParseFromString(reply.result());
    Message message;
    message.ParseFromString(any.value());
    return message;
  }
};

class PluginDriver {
 public:
  // A file that the spec names by `value`; `name` is its name in a folder, empty for a single file.
  PluginDriver& File(const std::string& value, const std::string& path, const std::string& name,
                     const std::string& on_disk) {
    v1::InputFile* file = input_.add_files();
    *file = Describe(on_disk);
    file->set_value(value);
    file->set_path(path);
    file->set_name(name);
    return *this;
  }
  // The version that `run` made, as an input model.
  PluginDriver& Model(const std::string& name, const PluginRun& run, const std::string& role = "", char version = '0') {
    v1::InputModel* model = input_.add_models();
    model->set_name(name);
    model->set_role(role);
    model->set_version(std::string(64, version));
    std::map<std::string, uint32_t> packs;
    places_.insert(run.places.begin(), run.places.end());
    assets_.insert(run.assets.begin(), run.assets.end());
    for (const v1::OutputTensor& made : run.reply.tensors()) {
      // A run that a test made by hand has all in its own folder.
      const auto known = run.places.find(made.id());
      const PluginRun::Place place = known != run.places.end()
                                         ? known->second
                                         : PluginRun::Place{run.staging + "/" + run.reply.pack_file(), made.offset()};
      places_.emplace(made.id(), place);
      if (packs.count(place.pack) == 0) packs[place.pack] = Open(place.pack);
      v1::InputTensor* tensor = model->add_tensors();
      tensor->set_name(made.name());
      tensor->set_dtype(made.dtype());
      *tensor->mutable_shape() = made.shape();
      tensor->set_id(made.id());
      tensor->set_fd(packs[place.pack]);
      tensor->set_offset(place.offset);
      tensor->set_size(made.size());
    }
    for (const v1::OutputFile& made : run.reply.files()) {
      v1::InputFile* file = model->add_files();
      const auto known = run.assets.find(made.asset());
      const std::string path = known != run.assets.end() ? known->second : run.staging + "/" + made.file();
      *file = Describe(path);
      file->set_asset(made.asset().empty() ? Sha256::Of(path).Hex() : made.asset());
      assets_.emplace(file->asset(), path);
      file->set_name(made.name());
    }
    *model->mutable_attributes() = run.reply.attributes();
    return *this;
  }
  PluginDriver& Threads(uint32_t threads) {
    threads_ = threads;
    return *this;
  }

  // The plugin's check: findings.
  std::vector<std::string> Check(const std::string& plugin, const google::protobuf::MessageLite& spec) {
    v1::ToWorker message;
    FillIn(message.mutable_check(), plugin, spec);
    Worker worker;
    EXPECT_OK(worker.socket->Send(message.SerializeAsString()));
    while (auto frame = worker.Next()) {
      if (!frame->has_check()) continue;
      EXPECT_EQ(frame->check().error().message(), "");
      return {frame->check().findings().begin(), frame->check().findings().end()};
    }
    return {"the worker died"};
  }

  // Runs the plugin with a staging folder under `staging`, which is made.
  PluginRun Run(const std::string& plugin, const google::protobuf::MessageLite& spec, const std::string& staging) {
    PluginRun run;
    run.staging = staging;
    std::filesystem::create_directories(staging);
    const UniqueFd folder(::open(staging.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    std::vector<int> fds;
    for (const UniqueFd& fd : fds_) fds.push_back(fd.get());
    fds.push_back(folder.get());
    v1::ToWorker message, carrier;
    carrier.mutable_more_descriptors();
    FillIn(message.mutable_run(), plugin, spec);
    message.mutable_run()->set_staging(static_cast<uint32_t>(fds.size() - 1));
    message.mutable_run()->set_heartbeat_seconds(5);
    message.mutable_run()->set_require_finite(true);
    const auto start = std::chrono::steady_clock::now();
    Worker worker;
    EXPECT_OK(worker.socket->Send(message.SerializeAsString(), fds, carrier.SerializeAsString()));
    bool replied = false;
    while (auto frame = worker.Next()) {
      if (frame->has_log()) run.log.push_back(frame->log().text());
      if (frame->has_run()) {
        run.reply = frame->run();
        run.places = places_;
        run.assets = assets_;
        for (const v1::OutputFile& made : run.reply.files()) {
          if (!made.file().empty()) run.assets.insert_or_assign(made.asset(), staging + "/" + made.file());
        }
        for (const v1::OutputTensor& made : run.reply.tensors()) {
          const PluginRun::Place place{staging + "/" + run.reply.pack_file(), made.offset()};
          if (made.is_new()) run.places.insert_or_assign(made.id(), place);
        }
        replied = true;
        break;
      }
    }
    EXPECT_TRUE(replied) << "the worker gave no reply";
    run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    run.peak_kib = worker.Wait();
    return run;
  }

 private:
  struct Worker {
    Worker() {
      auto pair = *FrameSocket::Pair();
      const int theirs = pair.second.get();
      pid = ::fork();
      if (pid == 0) {
        ::dup2(theirs, 3);
        ::fcntl(3, F_SETFD, 0);
        ::execl(EDITD_BINARY_DIR "/bin/edit-worker", "edit-worker", nullptr);
        ::_exit(127);
      }
      socket = std::make_unique<FrameSocket>(std::move(pair.first));
    }
    ~Worker() {
      if (pid <= 0) return;
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    std::optional<v1::FromWorker> Next() {
      for (;;) {
        auto frame = socket->TryReceive();
        if (!frame.ok()) return std::nullopt;
        if (frame->has_value()) {
          v1::FromWorker message;
          EXPECT_TRUE(message.ParseFromString((*frame)->message));
          return message;
        }
        struct pollfd wait = {socket->fd(), POLLIN, 0};
        if (::poll(&wait, 1, 100000) == 0) return std::nullopt;
      }
    }
    // Peak memory in KiB.
    int64_t Wait() {
      int status = 0;
      struct rusage usage = {};
      ::wait4(pid, &status, 0, &usage);
      pid = -1;
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the worker's status is " << status;
      return usage.ru_maxrss;
    }
    pid_t pid;
    std::unique_ptr<FrameSocket> socket;
  };

  uint32_t Open(const std::string& path) {
    auto fd = OpenForRead(path);
    EXPECT_OK(fd);
    fds_.push_back(*std::move(fd));
    return static_cast<uint32_t>(fds_.size() - 1);
  }
  v1::InputFile Describe(const std::string& on_disk) {
    v1::InputFile file;
    file.set_fd(Open(on_disk));
    file.set_size(std::filesystem::file_size(on_disk));
    file.set_asset(std::string(64, 'a'));
    return file;
  }
  template <typename Request>
  void FillIn(Request* request, const std::string& plugin, const google::protobuf::MessageLite& spec) {
    request->set_plugin_path(EDITD_BINARY_DIR "/lib/editd/plugins/" + plugin + ".so");
    request->set_plugin_hash(Sha256::Of(*ReadWholeFile(request->plugin_path())).Hex());
    *request->mutable_input() = input_;
    request->mutable_input()->set_job(1);
    request->mutable_input()->set_spec(spec.SerializeAsString());
    request->mutable_input()->set_threads(threads_);
  }

  v1::JobInput input_;
  std::map<std::string, PluginRun::Place> places_;  // Of the inputs' tensors.
  std::map<std::string, std::string> assets_;       // Of the inputs' files.
  uint32_t threads_ = 2;
  std::vector<UniqueFd> fds_;
};

}  // namespace editd

#endif  // EDITD_TESTS_PLUGIN_DRIVER_H_
