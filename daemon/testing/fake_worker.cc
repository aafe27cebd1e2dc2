// A worker for tests: speaks the frames on descriptor 3, and does what a script says (fake_plugin.h).
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#include "absl/strings/str_split.h"
#include "daemon/testing/fake_plugin.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/worker.pb.h"
#include "storage/base/frame.h"
#include "storage/base/pack_writer.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

class FakeWorker {
 public:
  FakeWorker() : socket_(UniqueFd(3)) {}

  int Serve() {
    for (;;) {
      auto frame = socket_.Receive();
      if (!frame.ok()) return 0;
      v1::ToWorker message;
      if (!message.ParseFromString(frame->message)) return 99;
      for (UniqueFd& fd : frame->descriptors) descriptors_.push_back(std::move(fd));
      if (message.has_describe()) Describe(message.describe().plugin_path());
      if (message.has_check()) Check(message.check());
      if (message.has_run()) {
        Run(message.run());
        return 0;
      }
    }
  }

 private:
  void Send(const v1::FromWorker& message) { socket_.Send(message.SerializeAsString()).IgnoreError(); }

  void Describe(const std::string& path) {
    v1::FromWorker message;
    std::string name = path.substr(path.rfind('/') + 1);
    name = name.substr(0, name.rfind('.'));
    if (name.starts_with("broken")) {
      message.mutable_describe()->mutable_error()->set_code(9);
      message.mutable_describe()->mutable_error()->set_message("it is of another ABI");
    } else {
      message.mutable_describe()->set_plugin(FakePlugin(name).SerializeAsString());
    }
    Send(message);
  }

  void Check(const v1::CheckRequest& request) {
    v1::FromWorker message;
    v1::CheckReply* reply = message.mutable_check();
    for (const auto& [verb, value] : Commands(request.input().spec())) {
      if (verb == "finding") reply->add_findings(value);
      if (verb == "estimate") reply->set_memory_bytes(std::strtoull(value.c_str(), nullptr, 10));
      if (verb == "check_exit") std::_Exit(std::atoi(value.c_str()));
      if (verb == "check_hang") ::pause();
      if (verb == "check_say") std::printf("%s\n", value.c_str()), std::fflush(stdout);
      if (verb == "check_error") {
        reply->mutable_error()->set_code(std::atoi(value.c_str()));
        reply->mutable_error()->set_message("asked to");
      }
    }
    Send(message);
  }

  void Run(const v1::RunRequest& request) {
    v1::FromWorker reply;
    v1::RunReply* run = reply.mutable_run();
    for (const auto& [verb, value] : Commands(request.input().spec())) Do(verb, value, request, run);
    Send(reply);
  }

  void Do(const std::string& verb, const std::string& value, const v1::RunRequest& request, v1::RunReply* run) {
    const int number = std::atoi(value.c_str());
    v1::FromWorker message;
    if (verb == "say") std::printf("%s\n", value.c_str()), std::fflush(stdout);
    if (verb == "err") std::fprintf(stderr, "%s\n", value.c_str());
    if (verb == "bad_byte") std::fprintf(stderr, "bad \xff byte\n");
    if (verb == "log") message.mutable_log()->set_text(value), message.mutable_log()->set_level(2), Send(message);
    if (verb == "metric") message.mutable_metric()->set_value(number), Send(message);
    if (verb == "tell") message.mutable_text()->set_text(value), Send(message);
    if (verb == "progress") {
      message.mutable_progress()->set_phase("work");
      message.mutable_progress()->set_done(static_cast<uint64_t>(number));
      message.mutable_progress()->set_total(1000);
      Send(message);
    }
    if (verb == "sleep") std::this_thread::sleep_for(std::chrono::milliseconds(number));
    if (verb == "beat") {
      for (int waited = 0; waited < number; waited += 20) {
        message.mutable_heartbeat();
        Send(message);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    }
    if (verb == "wait_stop") {
      socket_.Receive().status().IgnoreError();
      run->mutable_error()->set_message("stopped");
    }
    if (verb == "keep") Stage(request, "checkpoint", value);
    if (verb == "tell_kept") {
      char kept[100];
      const bool some = request.checkpoint() > 0;
      const ssize_t n = some ? ::pread(descriptors_[request.checkpoint()].get(), kept, sizeof(kept), 0) : 0;
      message.mutable_log()->set_text("kept: " + std::string(kept, n > 0 ? static_cast<size_t>(n) : 0));
      Send(message);
    }
    if (verb == "ignore_term") std::signal(SIGTERM, SIG_IGN);
    if (verb == "hang") {
      for (;;) ::pause();
    }
    if (verb == "exit") std::_Exit(number);
    if (verb == "signal") std::signal(number, SIG_DFL), ::raise(number), ::pause();
    if (verb == "alloc") {
      char* const memory = static_cast<char*>(std::malloc(std::strtoull(value.c_str(), nullptr, 10)));
      if (memory == nullptr) std::_Exit(86);
    }
    if (verb == "garbage") {
      const char bytes[] = {3, 0, 0, 0, '\xff', '\xff', '\xff'};
      if (::write(3, bytes, sizeof(bytes)) < 0) std::_Exit(98);
      ::pause();
    }
    if (verb == "error" || verb == "refuse") {
      run->mutable_error()->set_code(3);
      run->mutable_error()->set_message(value);
      run->mutable_error()->set_invalid_output(verb == "refuse");
    }
    if (verb == "version") MakeVersion(number, request, run);
    if (verb == "reuse") Reuse(request, run);
    if (verb == "export") {
      Stage(request, value, "content of " + value);
      v1::OutputFile* file = run->add_files();
      file->set_name(value);
      file->set_file(value);
      file->set_exported(true);
    }
    if (verb == "result") {
      v1::LogLine line;
      line.set_text(value);
      google::protobuf::Any any;
      any.PackFrom(line);
      run->set_result(any.SerializeAsString());
    }
  }

  UniqueFd Stage(const v1::RunRequest& request, const std::string& name, std::string_view content) {
    UniqueFd file(::openat(descriptors_[request.staging()].get(), name.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600));
    WriteAll(file.get(), content, name).IgnoreError();
    return file;
  }

  void MakeVersion(int first, const v1::RunRequest& request, v1::RunReply* run) {
    auto writer = PackWriter::Create(Stage(request, "pack", ""), "pack");
    const float values[3] = {static_cast<float>(first), static_cast<float>(first + 1), static_cast<float>(first + 2)};
    const int64_t shape[1] = {3};
    (*writer)->Begin("weight", DType::kF32, shape).IgnoreError();
    (*writer)->Append(values, sizeof(values)).IgnoreError();
    const auto pack = (*writer)->Finish();
    if (!pack.ok()) std::_Exit(97);
    v1::OutputTensor* tensor = run->add_tensors();
    tensor->set_name("weight");
    tensor->set_dtype("F32");
    tensor->add_shape(3);
    tensor->set_id(pack->tensors[0].tensor.id.Hex());
    tensor->set_is_new(true);
    tensor->set_offset(pack->tensors[0].tensor.offset);
    tensor->set_size(pack->tensors[0].tensor.size);
    run->set_pack_file("pack");
    run->set_pack_size(pack->file_size);
    run->set_pack_id(pack->id.Hex());
    run->set_makes_version(true);
    Stage(request, "config", "{}");
    v1::OutputFile* file = run->add_files();
    file->set_name("config.json");
    file->set_file("config");
    file->set_size(2);
  }

  void Reuse(const v1::RunRequest& request, v1::RunReply* run) {
    const v1::InputModel& model = request.input().models(0);
    for (const v1::InputTensor& input : model.tensors()) {
      v1::OutputTensor* tensor = run->add_tensors();
      tensor->set_name(input.name() + ".again");
      tensor->set_dtype(input.dtype());
      *tensor->mutable_shape() = input.shape();
      tensor->set_id(input.id());
      tensor->set_size(input.size());
    }
    for (const v1::InputFile& input : model.files()) {
      v1::OutputFile* file = run->add_files();
      file->set_name(input.name());
      file->set_asset(input.asset());
      file->set_size(input.size());
    }
    run->set_makes_version(true);
  }

  static std::vector<std::pair<std::string, std::string>> Commands(const std::string& spec) {
    std::vector<std::pair<std::string, std::string>> commands;
    const std::string script = ScriptOf(spec);
    for (absl::string_view part : absl::StrSplit(script, ';', absl::SkipWhitespace())) {
      const std::pair<std::string, std::string> command =
          absl::StrSplit(absl::StripAsciiWhitespace(part), absl::MaxSplits(' ', 1));
      commands.push_back(command);
    }
    return commands;
  }

  FrameSocket socket_;
  std::vector<UniqueFd> descriptors_;
};

}  // namespace
}  // namespace editd::daemon

int main() { return editd::daemon::FakeWorker().Serve(); }
