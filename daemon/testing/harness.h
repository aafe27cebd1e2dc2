// A daemon's inside for tests: a real store, real queue, real processes (the fake worker), and no sockets.
//
// Plugins are the files in a folder: "run" makes no version, "make" makes one, "join" reads a model and makes one,
// "broken" cannot be described.
#ifndef EDITD_DAEMON_TESTING_HARNESS_H_
#define EDITD_DAEMON_TESTING_HARNESS_H_

#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "daemon/checker.h"
#include "daemon/jobs.h"
#include "daemon/plugins.h"
#include "daemon/process_launcher.h"
#include "daemon/submission.h"
#include "daemon/testing/fake_plugin.h"
#include "storage/base/testing.h"

namespace editd::daemon {

// A launcher whose worker can be made to be missing.
class TestLauncher : public Launcher {
 public:
  absl::StatusOr<std::unique_ptr<Worker>> Launch(const LaunchOptions& options, WorkerSink sink) override {
    if (fails && options.memory_bytes > 0) return absl::ResourceExhaustedError("no more processes");
    return real_.Launch(options, std::move(sink));
  }
  std::atomic<bool> fails = false;

 private:
  ProcessLauncher real_{EDITD_BINARY_DIR "/tests/fake_worker"};
};

class Harness {
 public:
  // `state` is a state directory, which is made; it outlives this, so another harness may go on with it.
  explicit Harness(const std::string& state, const std::function<void(Config*)>& adjust = nullptr) {
    const std::string plugins = state + "-plugins";
    ::mkdir(plugins.c_str(), 0755);
    for (const char* name : {"run", "make", "join", "broken"}) {
      std::ofstream(plugins + "/" + name + ".so") << "the plugin " << name;
    }
    config.state_dir = state;
    config.plugin_dirs = {plugins};
    config.disk_reserve = 1;
    config.memory_budget = 4'000'000'000;
    config.default_memory = 4'000'000'000;
    config.default_threads = 1;
    config.cancel_grace = absl::Seconds(2);
    config.check_timeout = absl::Seconds(5);
    if (adjust != nullptr) adjust(&config);
    auto opened = storage::Store::Open(state);
    if (!opened.ok()) ADD_FAILURE() << opened.status();
    store = *std::move(opened);
    log = std::make_unique<EventLog>(store.get(), &news);
    registry = std::make_unique<Plugins>(config.plugin_dirs, &launcher, &core, store.get());
    jobs = std::make_unique<Jobs>(config, store.get(), &launcher, registry.get(), log.get(), &core, &launch_thread,
                                  [](const absl::Status& failure) { ADD_FAILURE() << failure; });
    checker = std::make_unique<Checker>(&launcher, config.check_timeout, config.check_idle);
    submission = std::make_unique<Submission>(config, &core, store.get(), jobs.get(), registry.get(), checker.get());
    EXPECT_OK(jobs->Recover());
    core.Start();
    launch_thread.Start();
    registry->Scan();
    core.Call([this] { jobs->Schedule(); });
  }

  // As if the daemon were told to end at once.
  ~Harness() {
    std::promise<void> idle;
    core.Post([&] { jobs->KillAll([&] { idle.set_value(); }); });
    idle.get_future().wait();
    launch_thread.Stop();
    checker.reset();
    core.Stop();
  }

  static v1::JobSpec Spec(const std::string& plugin, const std::string& script, const std::string& ref = "",
                          const std::string& input = "") {
    v1::JobSpec spec;
    spec.set_plugin(plugin);
    *spec.mutable_params() = FakeParams(script);
    if (!ref.empty()) spec.mutable_output()->set_ref(ref);
    if (!input.empty()) spec.add_input()->set_model(input);
    return spec;
  }

  absl::StatusOr<v1::Job> Submit(const v1::JobSpec& spec, bool force = false, const std::string& request_id = "") {
    v1::SubmitRequest request;
    *request.mutable_spec() = spec;
    request.set_force(force);
    request.set_request_id(request_id);
    return submission->Submit(request, Peer{1000, 1000, 1, "anna"});
  }

  // The submitted job once it has ended.
  v1::Job Run(const v1::JobSpec& spec, bool force = false) {
    const auto job = Submit(spec, force);
    if (!job.ok()) {
      ADD_FAILURE() << job.status();
      return {};
    }
    return WaitFor(job->id(), [](const v1::Job& now) { return HasEnded(now.state()); });
  }

  v1::Job Get(uint64_t id) {
    return core.Call([&] { return *jobs->Get(id); });
  }

  v1::Job WaitFor(uint64_t id, const std::function<bool(const v1::Job&)>& condition) {
    const auto last = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
      const v1::Job job = Get(id);
      if (condition(job)) return job;
      if (std::chrono::steady_clock::now() > last) {
        ADD_FAILURE() << "still " << job.ShortDebugString();
        return job;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  v1::Job WaitForState(uint64_t id, v1::JobState state) {
    return WaitFor(id, [state](const v1::Job& job) { return job.state() == state; });
  }
  // Its worker has said something, so it is at work.
  void WaitForWork(uint64_t id) {
    WaitFor(id, [&](const v1::Job&) {
      for (const v1::Event& event : Events(id)) {
        if (event.has_log()) return true;
      }
      return false;
    });
  }

  std::vector<v1::Event> Events(uint64_t id) {
    return core.Call([&] { return *store->ReadEvents(id, 1, 100'000); });
  }
  // The states that the job went through, the first included.
  std::vector<v1::JobState> States(uint64_t id) {
    std::vector<v1::JobState> states;
    for (const v1::Event& event : Events(id)) {
      if (event.has_state()) states.push_back(event.state().to());
    }
    return states;
  }

  Config config;
  TestLauncher launcher;
  CoreThread core, launch_thread;
  std::unique_ptr<storage::Store> store;
  EventNews news;
  std::unique_ptr<EventLog> log;
  std::unique_ptr<Plugins> registry;
  std::unique_ptr<Jobs> jobs;
  std::unique_ptr<Checker> checker;
  std::unique_ptr<Submission> submission;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_TESTING_HARNESS_H_
