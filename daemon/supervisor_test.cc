// Supervising real processes: the fake worker, told by a script what to do.
#include "daemon/supervisor.h"

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <optional>
#include <thread>

#include "daemon/process_launcher.h"
#include "daemon/testing/fake_plugin.h"
#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kFakeWorker = EDITD_BINARY_DIR "/tests/fake_worker";

// Notes what a supervisor tells, and lets a test wait for the end.
class Notes : public SupervisorObserver {
 public:
  void OnLaunchFailed(const absl::Status& status) override {
    std::lock_guard<std::mutex> lock(mutex_);
    launch_failed = status;
    over_ = true;
    changed_.notify_all();
  }
  void OnStarted(pid_t pid) override {
    std::lock_guard<std::mutex> lock(mutex_);
    pid_ = pid;
    changed_.notify_all();
  }
  void OnEvents(const std::vector<WorkerEvent>& events) override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const WorkerEvent& event : events) {
      if (const auto* line = std::get_if<OutputLine>(&event)) (line->error ? err : out).push_back(line->text);
      if (const auto* frame = std::get_if<v1::FromWorker>(&event); frame != nullptr && frame->has_log()) {
        logged.push_back(frame->log().text());
      }
    }
    changed_.notify_all();
  }
  void OnReply() override { replied = true; }
  void OnEnd(Ended end) override {
    std::lock_guard<std::mutex> lock(mutex_);
    ended = std::move(end);
    over_ = true;
    changed_.notify_all();
  }

  pid_t WaitForStart() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return pid_ != 0; });
    return pid_;
  }
  void WaitForLine() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !out.empty(); });
  }
  void WaitForEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [this] { return over_; })) << "the attempt goes on";
  }

  absl::Status launch_failed;
  std::vector<std::string> out, err, logged;
  bool replied = false;
  Ended ended;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  pid_t pid_ = 0;
  bool over_ = false;
};

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    core_.Start();
    launch_thread_.Start();
    options_.grace = absl::Seconds(10);
  }
  ~SupervisorTest() override {
    launch_thread_.Stop();
    core_.Stop();
  }

  std::shared_ptr<Supervisor> Start(const std::string& script, Launcher* launcher = nullptr) {
    options_.prepare = [script]() -> absl::StatusOr<daemon::Start> {
      daemon::Start start;
      start.message.mutable_run()->mutable_input()->set_spec(FakeParams(script).value());
      return start;
    };
    auto supervisor = std::make_shared<Supervisor>(options_, launcher == nullptr ? &launcher_ : launcher, &core_,
                                                   &launch_thread_, notes_);
    core_.Post([supervisor] { supervisor->Start(); });
    return supervisor;
  }

  Verdict Run(const std::string& script) {
    Start(script);
    notes_->WaitForEnd();
    return Classify(notes_->ended);
  }

  ProcessLauncher launcher_{kFakeWorker};
  CoreThread core_, launch_thread_;
  SupervisorOptions options_;
  std::shared_ptr<Notes> notes_ = std::make_shared<Notes>();
};

TEST_F(SupervisorTest, AReplyWithoutErrorIsSuccess) {
  EXPECT_EQ(Run("log hello").exit_class, v1::EXIT_CLASS_OK);
  EXPECT_TRUE(notes_->replied);
  EXPECT_THAT(notes_->logged, ElementsAre("hello"));
  EXPECT_EQ(notes_->ended.exit.status, 0);
  EXPECT_GT(notes_->ended.exit.peak_rss_bytes, 100'000u);
}

TEST_F(SupervisorTest, OutputComesInLinesAndWholeEvenWithoutALastNewline) {
  Run("say one;say two;bad_byte;exit 0");
  EXPECT_THAT(notes_->out, ElementsAre("one", "two"));
  EXPECT_THAT(notes_->err, ElementsAre("bad \xef\xbf\xbd byte"));
}

TEST_F(SupervisorTest, AnErrorInTheReplyIsThePlugins) {
  const Verdict verdict = Run("error the corpus is empty");
  EXPECT_EQ(verdict.exit_class, v1::EXIT_CLASS_PLUGIN_ERROR);
  EXPECT_EQ(verdict.message, "the corpus is empty");
  EXPECT_FALSE(notes_->replied);
}

TEST_F(SupervisorTest, ARefusedResultIsInvalidOutput) {
  EXPECT_EQ(Run("refuse a tensor has NaN").exit_class, v1::EXIT_CLASS_INVALID_OUTPUT);
}

TEST_F(SupervisorTest, ASignalIsACrashWithItsName) {
  const Verdict verdict = Run("signal 11");
  EXPECT_EQ(verdict.exit_class, v1::EXIT_CLASS_CRASHED);
  EXPECT_THAT(verdict.message, HasSubstr("SIGSEGV"));
  EXPECT_EQ(notes_->ended.exit.status, -SIGSEGV);
}

TEST_F(SupervisorTest, AnExitWithoutAReplyIsACrash) {
  const Verdict verdict = Run("exit 3");
  EXPECT_EQ(verdict.exit_class, v1::EXIT_CLASS_CRASHED);
  EXPECT_THAT(verdict.message, HasSubstr("exit status 3"));
}

TEST_F(SupervisorTest, WhatIsNoFrameEndsTheWorker) {
  const Verdict verdict = Run("garbage");
  EXPECT_EQ(verdict.exit_class, v1::EXIT_CLASS_CRASHED);
  EXPECT_THAT(verdict.message, HasSubstr("protocol"));
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // They reserve more than any limit allows.
TEST_F(SupervisorTest, TheMemoryLimitHolds) {
  options_.launch.memory_bytes = 64 << 20;
  const Verdict verdict = Run("alloc 200000000");
  EXPECT_EQ(verdict.exit_class, v1::EXIT_CLASS_OUT_OF_MEMORY);
  EXPECT_THAT(verdict.message, HasSubstr("67.1 MB"));
}
#endif

TEST_F(SupervisorTest, ADeadlineEndsTheJobEvenIfItIgnoresEverything) {
  options_.time_limit = absl::Milliseconds(100);
  options_.grace = absl::Milliseconds(200);
  const Verdict verdict = Run("ignore_term;hang");
  EXPECT_EQ(verdict.exit_class, v1::EXIT_CLASS_TIMED_OUT);
  EXPECT_EQ(notes_->ended.exit.status, -SIGKILL);
}

TEST_F(SupervisorTest, SilenceIsHungButHeartbeatsAreLife) {
  options_.hung_after = absl::Milliseconds(300);
  EXPECT_EQ(Run("beat 900").exit_class, v1::EXIT_CLASS_OK);
  notes_ = std::make_shared<Notes>();
  EXPECT_EQ(Run("hang").exit_class, v1::EXIT_CLASS_HUNG);
}

TEST_F(SupervisorTest, CancelAsksFirst) {
  auto supervisor = Start("say here;wait_stop");
  notes_->WaitForLine();
  core_.Post([supervisor] { supervisor->Cancel(); });
  notes_->WaitForEnd();
  EXPECT_EQ(Classify(notes_->ended).exit_class, v1::EXIT_CLASS_CANCELLED);
  EXPECT_EQ(notes_->ended.exit.status, 0);  // It stopped by itself.
}

TEST_F(SupervisorTest, CancelTerminatesAtHalfOfTheGraceAndKillsAtItsEnd) {
  options_.grace = absl::Milliseconds(200);
  auto supervisor = Start("say here;hang");
  notes_->WaitForLine();
  core_.Post([supervisor] { supervisor->Cancel(); });
  notes_->WaitForEnd();
  EXPECT_EQ(notes_->ended.exit.status, -SIGTERM);

  notes_ = std::make_shared<Notes>();
  supervisor = Start("ignore_term;say here;hang");
  notes_->WaitForLine();
  core_.Post([supervisor] { supervisor->Cancel(); });
  notes_->WaitForEnd();
  EXPECT_EQ(notes_->ended.exit.status, -SIGKILL);
  EXPECT_EQ(Classify(notes_->ended).exit_class, v1::EXIT_CLASS_CANCELLED);
}

TEST_F(SupervisorTest, TheDaemonsEndInterruptsAtOnce) {
  auto supervisor = Start("ignore_term;say here;hang");
  notes_->WaitForLine();
  core_.Post([supervisor] { supervisor->Kill(); });
  notes_->WaitForEnd();
  EXPECT_EQ(Classify(notes_->ended).exit_class, v1::EXIT_CLASS_INTERRUPTED);
}

TEST_F(SupervisorTest, AKillFromOutsideIsACrash) {
  Start("hang");
  ::kill(notes_->WaitForStart(), SIGKILL);
  notes_->WaitForEnd();
  EXPECT_EQ(Classify(notes_->ended).exit_class, v1::EXIT_CLASS_CRASHED);
}

TEST_F(SupervisorTest, AMissingProgramIsALaunchFailure) {
  ProcessLauncher nowhere("/nowhere/edit-worker");
  Start("", &nowhere);
  notes_->WaitForEnd();
  EXPECT_THAT(notes_->launch_failed, StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/edit-worker")));
}

TEST_F(SupervisorTest, ATalkativeWorkerLosesNothing) {
  std::string script;
  for (int i = 0; i < 3000; ++i) script += "log line;say a line that is written out;";
  Run(script);
  EXPECT_EQ(notes_->logged.size(), 3000u);
  EXPECT_EQ(notes_->out.size(), 3000u);
}

}  // namespace
}  // namespace editd::daemon
