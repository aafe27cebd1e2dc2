// misbehave: every way in which a plugin can go wrong, on request.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <stdexcept>
#include <thread>

#include "editd/plugin.hpp"
#include "misbehave.pb.h"

namespace {

using namespace editd::tests::misbehave::v1;

class Misbehave : public editd::Plugin<MisbehaveSpec, MisbehaveResult> {
 public:
  absl::Status Check(const MisbehaveSpec& spec, editd::Job& job) override {
    if (!spec.finding().empty()) job.Finding("finding", spec.finding());
    job.Estimate(spec.estimate_memory(), spec.amount());
    return spec.in_check() ? Act(spec, job) : absl::OkStatus();
  }

  absl::StatusOr<MisbehaveResult> Run(const MisbehaveSpec& spec, editd::Job& job) override {
    for (uint32_t i = 0; i < spec.sleep_milliseconds(); i += 10) {
      if (job.ShouldStop()) return job.CheckStop();
      job.Progress("sleep", i, spec.sleep_milliseconds(), "ms");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (absl::Status status = Act(spec, job); !status.ok()) return status;
    if (absl::Status status = Make(spec, job); !status.ok()) return status;
    result_.set_seed(job.seed());
    result_.set_threads(job.threads());
    return result_;
  }

 private:
  absl::Status Act(const MisbehaveSpec& spec, editd::Job& job) {
    volatile uint64_t counter = 0;
    switch (spec.mode()) {
      case MODE_FAIL:
        return absl::FailedPreconditionError("asked to fail");
      case MODE_THROW:
        throw std::runtime_error("asked to throw");
      case MODE_CRASH:
        std::signal(SIGSEGV, SIG_DFL);
        std::raise(SIGSEGV);
        break;
      case MODE_HANG:
        for (;;) ::pause();
      case MODE_SPIN:
        for (;;) counter = counter + 1;
      case MODE_WAIT:
        while (!job.ShouldStop()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return job.CheckStop();
      case MODE_EXIT:
        std::exit(0);
      case MODE_REFUSE:
        return job.Refuse("asked to refuse");
      case MODE_ALLOCATE: {
        std::vector<std::unique_ptr<char[]>> blocks;
        for (uint64_t got = 0; got < spec.amount(); got += 1 << 20) {
          blocks.push_back(std::make_unique<char[]>(1 << 20));
          std::memset(blocks.back().get(), 1, 1 << 20);
        }
        break;
      }
      case MODE_LOG:
        for (uint64_t i = 0; i < spec.amount(); ++i) job.Info("line " + std::to_string(i));
        break;
      case MODE_TELL:
        for (uint64_t i = 0; i < spec.amount(); ++i) {
          for (const char& c : std::string_view("được ")) job.Text(0, {&c, 1});
          for (const char& c : std::string_view("ok ")) job.Text(1, {&c, 1});
        }
        break;
      case MODE_KEEP: {
        const std::string last(job.LoadCheckpoint());
        job.Info("kept: " + last);
        if (absl::Status status = job.SaveCheckpoint(last + "x"); !status.ok()) return status;
        return absl::FailedPreconditionError("asked to fail");
      }
      case MODE_PRINT:
        std::printf("a line to standard output\n");
        std::fprintf(stderr, "a line to standard error\n");
        break;
      case MODE_BABBLE:
        (void)!::write(3, "\xff\xff\xff\xff", 4);
        for (;;) ::pause();
      case MODE_TRESPASS:
        Trespass(spec);
        break;
      default:
        break;
    }
    return absl::OkStatus();
  }

  void Trespass(const MisbehaveSpec& spec) {
    const int file = ::open(spec.forbidden_path().c_str(), O_RDONLY | O_CLOEXEC);
    if (file >= 0) result_.add_trespassed("read " + spec.forbidden_path());
    if (::open("/tmp/editd-trespass", O_WRONLY | O_CREAT, 0600) >= 0) result_.add_trespassed("write /tmp");
    if (::socket(AF_INET, SOCK_STREAM, 0) >= 0) result_.add_trespassed("a TCP socket");
    if (::socket(AF_INET6, SOCK_DGRAM, 0) >= 0) result_.add_trespassed("a UDP socket");
    if (::kill(::getppid(), 0) == 0) result_.add_trespassed("a signal to the daemon");
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/bin/true", "true", nullptr);
      ::_exit(1);
    }
    int status = 0;
    if (::waitpid(child, &status, 0) == child && status == 0) result_.add_trespassed("another program");
  }

  absl::Status Make(const MisbehaveSpec& spec, editd::Job& job) {
    const bool counts = spec.mode() == MODE_ALLOCATE || spec.mode() == MODE_LOG || spec.mode() == MODE_TELL;
    const bool sized = !counts && spec.amount() > 0;
    const int64_t count = static_cast<int64_t>((sized ? spec.amount() : 4096) / 4);
    std::vector<float> made(static_cast<size_t>(count));
    for (size_t i = 0; i < made.size(); ++i) made[i] = static_cast<float>((job.seed() + i) % 251);
    if (spec.mode() == MODE_DIFFER) made.at(0) = static_cast<float>(std::random_device()());
    if (spec.mode() == MODE_NAN) made.at(12) = std::numeric_limits<float>::quiet_NaN();
    const int64_t shape[] = {count};
    uint64_t size = static_cast<uint64_t>(count) * 4;
    if (spec.mode() == MODE_SHORT) size -= 4;
    if (absl::Status status = job.AddTensor("made", "F32", shape, made.data(), size); !status.ok()) return status;
    if (spec.mode() == MODE_LONG) return job.Write(made.data(), 4);
    if (spec.mode() == MODE_TWICE) return job.AddTensor("made", "F32", shape, made.data(), size);
    uint64_t sum = 0;
    for (const editd::Model& model : job.models()) {
      for (const editd::Tensor& tensor : model.tensors) {
        if (tensor.name == "made") continue;
        for (const char c : tensor.bytes()) sum += static_cast<uint8_t>(c);
        job.Release(tensor.bytes());
        if (absl::Status status = job.Reuse(tensor); !status.ok()) return status;
      }
      for (const editd::File& file : model.files) {
        for (const char c : file.content) sum += static_cast<uint8_t>(c);
        if (file.name == "copy") continue;
        if (absl::Status status = job.ReuseFile(file); !status.ok()) return status;
      }
      if (absl::Status status = job.SetAttribute("parent", model.Attribute("color")); !status.ok()) return status;
    }
    result_.set_input_sum(sum);
    if (spec.mode() == MODE_BAD_NAME) return job.AddFile("../escape", "x");
    if (spec.mode() == MODE_EXPORT) {
      for (const char* name : {"one.txt", "two.txt"}) {
        if (absl::Status status = job.BeginExport(name); !status.ok()) return status;
        if (absl::Status status = job.WriteExport(std::string("content of ") + name); !status.ok()) return status;
      }
    }
    if (!spec.path().empty()) {
      std::string all;
      for (const editd::File& file : job.FilesOf(spec.path())) all += file.content;
      if (absl::Status status = job.AddFile("copy", all); !status.ok()) return status;
    }
    job.Metric("made", static_cast<double>(count));
    return absl::OkStatus();
  }

  MisbehaveResult result_;
};

}  // namespace

EDIT_PLUGIN(
    "misbehave", Misbehave,
    {.version = "1.0.0", .summary = "goes wrong in the way that is asked for", .makes_version = true, .max_inputs = 1});
