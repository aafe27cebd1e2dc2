// noop: a job that does nothing, for tests and for measuring what everything around a job costs.
#include <chrono>
#include <thread>

#include "editd/plugin.hpp"
#include "noop.pb.h"

namespace {

using editd::tests::noop::v1::NoopResult;
using editd::tests::noop::v1::NoopSpec;

class Noop : public editd::Plugin<NoopSpec, NoopResult> {
 public:
  absl::StatusOr<NoopResult> Run(const NoopSpec& spec, editd::Job& job) override {
    for (uint32_t i = 0; i < spec.sleep_milliseconds(); i += 10) {
      if (job.ShouldStop()) return job.CheckStop();
      job.Progress("sleep", i, spec.sleep_milliseconds(), "ms");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    NoopResult result;
    result.set_echo(spec.echo());
    return result;
  }
};

}  // namespace

EDIT_PLUGIN("noop", Noop, {.version = "1.0.0", .summary = "does nothing", .max_inputs = 1});
