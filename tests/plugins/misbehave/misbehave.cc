// misbehave: everything that a plugin must not do, for tests of what becomes of it.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "editd/plugin.hpp"
#include "misbehave.pb.h"

namespace {

using editd::tests::misbehave::v1::MisbehaveSpec;

constexpr std::array<int64_t, 2> kShape = {4, 4};

absl::Status Publish(editd::Job& job, const std::string& name, float odd) {
  std::array<float, 16> values = {};
  values[7] = odd;
  return job.AddTensor(name, "F32", kShape, values.data(), sizeof(values));
}

// What a worker must not be able to do; empty if none of it worked.
std::string Escapes() {
  std::string out;
  if (::open("/etc/passwd", O_RDONLY) >= 0) out += " read /etc/passwd;";
  if (::open("/tmp/editd-escaped", O_WRONLY | O_CREAT, 0600) >= 0) out += " made a file in /tmp;";
  if (::socket(AF_INET, SOCK_STREAM, 0) >= 0) out += " made an internet socket;";
  if (::fork() == 0) ::_exit(0);
  char* arguments[] = {const_cast<char*>("/bin/true"), nullptr};
  char* environment[] = {nullptr};
  // If this works nobody comes back, and the worker ends without a result.
  if (::execve(arguments[0], arguments, environment) == 0) out += " ran a program;";
  return out;
}

class Misbehave : public editd::Plugin<MisbehaveSpec> {
 public:
  absl::StatusOr<Result> Run(const MisbehaveSpec& spec, editd::Job& job) override {
    switch (spec.how()) {
      case MisbehaveSpec::HOW_EXIT:
        std::exit(3);
      case MisbehaveSpec::HOW_SEGFAULT:
        *static_cast<volatile int*>(nullptr) = 1;
        break;
      case MisbehaveSpec::HOW_ABORT:
        std::abort();
      case MisbehaveSpec::HOW_HANG:
        for (volatile bool for_ever = true; for_ever;) {
        }
        break;
      case MisbehaveSpec::HOW_THROW:
        throw std::runtime_error("this was thrown");
      case MisbehaveSpec::HOW_NAN:
        return Status(Publish(job, "bad.weight", std::numeric_limits<float>::quiet_NaN()));
      case MisbehaveSpec::HOW_INFINITY:
        return Status(Publish(job, "bad.weight", std::numeric_limits<float>::infinity()));
      case MisbehaveSpec::HOW_SHORT_TENSOR:
        if (absl::Status s = job.BeginTensor("short.weight", "F32", kShape); !s.ok()) return s;
        return Status(job.Write("1234", 4));
      case MisbehaveSpec::HOW_LONG_TENSOR: {
        if (absl::Status s = job.BeginTensor("long.weight", "F32", kShape); !s.ok()) return s;
        const std::string bytes(100, '\0');
        return Status(job.Write(bytes.data(), bytes.size()));
      }
      case MisbehaveSpec::HOW_TWICE:
        if (absl::Status s = Publish(job, "twice.weight", 0); !s.ok()) return s;
        return Status(Publish(job, "twice.weight", 1));
      case MisbehaveSpec::HOW_MEMORY:
        for (std::vector<std::string> all;;) all.emplace_back(16 << 20, 'x');
      case MisbehaveSpec::HOW_ERROR:
        return absl::FailedPreconditionError("the plugin does not want to; ask it kindly");
      case MisbehaveSpec::HOW_PRINT:
        std::puts("said on standard output");
        std::fflush(stdout);
        std::fputs("said on standard error\n", stderr);
        return Status(Publish(job, "good.weight", 0.5f));
      case MisbehaveSpec::HOW_ESCAPE: {
        const std::string escapes = Escapes();
        if (!escapes.empty()) return absl::InternalError("escaped:" + escapes);
        return Status(Publish(job, "good.weight", 0.25f));
      }
      default:
        break;
    }
    return absl::InvalidArgumentError("how is not set");
  }

 private:
  static absl::StatusOr<Result> Status(const absl::Status& status) {
    if (!status.ok()) return status;
    return Result();
  }
};

}  // namespace

EDIT_PLUGIN("misbehave", Misbehave, {.version = "1.0.0", .summary = "does it wrong", .makes_version = true});
