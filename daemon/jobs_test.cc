// Every edge of the state machine (daemon/JOBS.md), with a real store and real processes.
#include "daemon/jobs.h"

#include <csignal>

#include "daemon/testing/harness.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr v1::JobState kPending = v1::JOB_STATE_PENDING, kStarting = v1::JOB_STATE_STARTING,
                       kRunning = v1::JOB_STATE_RUNNING, kCommitting = v1::JOB_STATE_COMMITTING,
                       kSucceeded = v1::JOB_STATE_SUCCEEDED, kFailed = v1::JOB_STATE_FAILED,
                       kCancelled = v1::JOB_STATE_CANCELLED;

class JobsTest : public ::testing::Test {
 protected:
  Harness& Open(const std::function<void(Config*)>& adjust = nullptr) {
    harness_.reset();
    harness_ = std::make_unique<Harness>(dir_ / "state", adjust);
    return *harness_;
  }
  const v1::Attempt& Last(const v1::Job& job) { return job.attempts(job.attempts_size() - 1); }

  TemporaryDirectory dir_;
  std::unique_ptr<Harness> harness_;
};

// --- the straight way -----------------------------------------------------------------------------------------------

TEST_F(JobsTest, AJobGoesThroughItsStatesAndPublishes) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("make", "log at work;version 1;result fine", "m"));
  EXPECT_EQ(job.state(), kSucceeded) << job.ShortDebugString();
  EXPECT_THAT(h.States(job.id()), ElementsAre(kPending, kStarting, kRunning, kCommitting, kSucceeded));
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_OK);
  EXPECT_EQ(job.user(), "anna");
  EXPECT_GT(job.bytes_written(), 0u);
  EXPECT_TRUE(job.has_result());
  const auto version = h.core.Call([&] { return h.store->GetVersion(*h.store->Resolve("m"), true); });
  ASSERT_OK(version);
  EXPECT_EQ(version->id(), job.output_version());
  EXPECT_THAT(version->recipe().params_text(), HasSubstr("version 1"));
  EXPECT_EQ(version->tensors_size(), 1);
  EXPECT_EQ(version->files(0).name(), "config.json");
}

TEST_F(JobsTest, EventsAreNumberedWithoutGaps) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("run", "log a;say b;metric 3;log c"));
  uint64_t seq = 0;
  for (const v1::Event& event : h.Events(job.id())) EXPECT_EQ(event.seq(), ++seq);
  EXPECT_GE(seq, 9u);
}

TEST_F(JobsTest, TextIsKeptPieceByPieceWithItsAttempt) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("run", "tell one,;tell two;exit 3"));  // Tried again once.
  ASSERT_EQ(job.attempts_size(), 2);
  std::vector<std::string> told;
  for (const v1::Event& event : h.Events(job.id())) {
    if (event.has_text()) told.push_back(StrCat(event.text().attempt(), ": ", event.text().text()));
  }
  EXPECT_THAT(told, ElementsAre("1: one,", "1: two", "2: one,", "2: two"));
}

TEST_F(JobsTest, AnEditOfAnEditKnowsItsParent) {
  Harness& h = Open();
  const v1::Job base = h.Run(Harness::Spec("make", "version 1", "base"));
  const v1::Job edit = h.Run(Harness::Spec("join", "reuse", "edited", "base"));
  ASSERT_EQ(edit.state(), kSucceeded) << Last(edit).message();
  EXPECT_THAT(edit.input_versions(), ElementsAre(base.output_version()));
  const auto ancestors = h.core.Call([&] { return h.store->Ancestors(*Id::FromHex(edit.output_version())); });
  ASSERT_EQ(ancestors.size(), 1u);
  EXPECT_EQ(ancestors[0].Hex(), base.output_version());
  EXPECT_EQ(edit.bytes_written(), 0u);
}

TEST_F(JobsTest, ExportedFilesBelongToTheJob) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("run", "export model.txt"));
  ASSERT_EQ(job.state(), kSucceeded) << Last(job).message();
  ASSERT_EQ(job.exported_size(), 1);
  EXPECT_EQ(job.exported(0).name(), "model.txt");
  EXPECT_OK(h.store->OpenAsset(*Id::FromHex(job.exported(0).asset())));
}

// --- how attempts end -----------------------------------------------------------------------------------------------

TEST_F(JobsTest, AnErrorOfThePluginIsFinal) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("run", "error the corpus is empty"));
  EXPECT_THAT(h.States(job.id()), ElementsAre(kPending, kStarting, kRunning, kFailed));
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_PLUGIN_ERROR);
  EXPECT_EQ(Last(job).message(), "the corpus is empty");
  EXPECT_EQ(job.attempts_size(), 1);
}

TEST_F(JobsTest, ARefusedOutputIsFinal) {
  Harness& h = Open();
  EXPECT_EQ(Last(h.Run(Harness::Spec("make", "refuse a tensor has NaN", "m"))).exit_class(),
            v1::EXIT_CLASS_INVALID_OUTPUT);
  EXPECT_FALSE(h.core.Call([&] { return h.store->FindRef("m"); }).has_value());
}

TEST_F(JobsTest, ACrashIsTriedAgainOnce) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("run", "signal 11"));
  EXPECT_THAT(h.States(job.id()), ElementsAre(kPending, kStarting, kRunning, kPending, kStarting, kRunning, kFailed));
  EXPECT_EQ(job.attempts_size(), 2);
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_CRASHED);
  EXPECT_EQ(Last(job).exit_status(), -SIGSEGV);
}

TEST_F(JobsTest, AHungWorkerIsTriedAgainOnce) {
  Harness& h = Open([](Config* config) { config->hung_after = absl::Milliseconds(200); });
  const v1::Job job = h.Run(Harness::Spec("run", "hang"));
  EXPECT_EQ(job.attempts_size(), 2);
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_HUNG);
}

TEST_F(JobsTest, ATimeLimitIsFinal) {
  Harness& h = Open([](Config* config) { config->cancel_grace = absl::Milliseconds(100); });
  v1::JobSpec spec = Harness::Spec("run", "beat 60000");
  spec.mutable_limits()->set_time_seconds(1);
  const v1::Job job = h.Run(spec);
  EXPECT_EQ(job.attempts_size(), 1);
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_TIMED_OUT);
  EXPECT_THAT(Last(job).message(), HasSubstr("limits.time_seconds"));
}

TEST_F(JobsTest, OutOfMemoryIsFinal) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("run", "exit 86"));
  EXPECT_EQ(job.attempts_size(), 1);
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_OUT_OF_MEMORY);
}

TEST_F(JobsTest, AWorkerThatCannotStartIsFinal) {
  Harness& h = Open();
  h.launcher.fails = true;
  const v1::Job job = h.Run(Harness::Spec("run", ""));
  EXPECT_THAT(h.States(job.id()), ElementsAre(kPending, kStarting, kFailed));
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_LAUNCH_FAILED);
  EXPECT_EQ(Last(job).message(), "no more processes");
}

TEST_F(JobsTest, ADisobedientReplyIsInvalidOutput) {
  Harness& h = Open();
  const v1::Job job = h.Run(Harness::Spec("make", "result no version", "m"));
  EXPECT_EQ(Last(job).exit_class(), v1::EXIT_CLASS_INVALID_OUTPUT);
  EXPECT_THAT(Last(job).message(), HasSubstr("made no version"));
}

TEST_F(JobsTest, ARefThatMovedMeanwhileFailsTheJobButKeepsTheVersion) {
  Harness& h = Open();
  const v1::Job base = h.Run(Harness::Spec("make", "version 1", "base"));
  const auto job = h.Submit(Harness::Spec("make", "log working;sleep 300;version 2", "m"));
  ASSERT_OK(job);
  h.WaitForWork(job->id());
  ASSERT_OK(h.core.Call([&] { return h.store->MoveRef("m", Id{}, *h.store->Resolve("base"), {"bob", 0, "mine"}); }));
  const v1::Job ended = h.WaitForState(job->id(), kFailed);
  EXPECT_EQ(Last(ended).exit_class(), v1::EXIT_CLASS_COMMIT_FAILED);
  EXPECT_THAT(Last(ended).message(), HasSubstr(ended.output_version()));
  EXPECT_OK(h.core.Call([&] { return h.store->GetVersion(*Id::FromHex(ended.output_version()), true); }));
  EXPECT_EQ(h.core.Call([&] { return h.store->Resolve("m")->Hex(); }), base.output_version());
}

// --- cancel and retry -----------------------------------------------------------------------------------------------

// What attempts told of the checkpoint that they were given.
std::vector<std::string> Kept(Harness& h, uint64_t id) {
  std::vector<std::string> told;
  for (const v1::Event& event : h.Events(id)) {
    if (event.has_log() && event.log().text().starts_with("kept: ")) told.push_back(event.log().text().substr(6));
  }
  return told;
}

TEST_F(JobsTest, ACancelledJobsCheckpointIsThereAtARetry) {
  Harness& h = Open();
  const auto job = h.Submit(Harness::Spec("run", "tell_kept;keep half;beat 500;log works;wait_stop"));
  ASSERT_OK(job);
  for (int round = 0; round < 2; ++round) {
    h.WaitFor(job->id(), [&](const v1::Job& now) {
      return now.state() == kRunning && Kept(h, job->id()).size() == static_cast<size_t>(round) + 1;
    });
    ASSERT_OK(h.core.Call([&] { return h.jobs->Cancel(job->id(), "bob"); }));
    h.WaitForState(job->id(), kCancelled);
    if (round == 0) ASSERT_OK(h.core.Call([&] { return h.jobs->Retry(job->id(), "bob"); }));
  }
  EXPECT_THAT(Kept(h, job->id()), ElementsAre("", "half"));
}

TEST_F(JobsTest, ACheckpointOutlivesACrashAndGoesWithSuccess) {
  Harness& h = Open();
  const v1::Job crashed = h.Run(Harness::Spec("run", "tell_kept;keep half;exit 3"));
  EXPECT_THAT(Kept(h, crashed.id()), ElementsAre("", "half"));
  v1::JobSpec spec = Harness::Spec("run", "tell_kept;keep half;beat 3000");
  spec.mutable_limits()->set_time_seconds(1);
  const v1::Job late = h.Run(spec);
  EXPECT_EQ(Last(late).exit_class(), v1::EXIT_CLASS_TIMED_OUT);
  h.launch_thread.Call([] {});
  EXPECT_OK(h.store->OpenCheckpoint(late.id()));
  const v1::Job good = h.Run(Harness::Spec("run", "keep all;result done"));
  EXPECT_EQ(good.state(), kSucceeded);
  h.launch_thread.Call([] {});
  EXPECT_TRUE(absl::IsNotFound(h.store->OpenCheckpoint(good.id()).status()));
}

TEST_F(JobsTest, APendingJobIsCancelledAtOnce) {
  Harness& h = Open();
  const auto first = h.Submit(Harness::Spec("run", "log here;hang"));
  const auto second = h.Submit(Harness::Spec("run", "sleep 1"));
  ASSERT_OK(h.core.Call([&] { return h.jobs->Cancel(second->id(), "bob"); }));
  EXPECT_THAT(h.States(second->id()), ElementsAre(kPending, kCancelled));
  EXPECT_THAT(h.core.Call([&] { return h.jobs->Cancel(second->id(), "bob"); }),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("ended already: CANCELLED")));
}

TEST_F(JobsTest, ARunningJobIsCancelledWithGrace) {
  Harness& h = Open();
  const auto job = h.Submit(Harness::Spec("run", "log here;wait_stop"));
  h.WaitForWork(job->id());
  ASSERT_OK(h.core.Call([&] { return h.jobs->Cancel(job->id(), "bob"); }));
  const v1::Job ended = h.WaitForState(job->id(), kCancelled);
  EXPECT_EQ(Last(ended).exit_class(), v1::EXIT_CLASS_CANCELLED);
  EXPECT_EQ(Last(ended).exit_status(), 0);
  EXPECT_TRUE(ended.cancel_requested());
}

TEST_F(JobsTest, AFailedJobIsTriedAgainUnderItsId) {
  Harness& h = Open();
  h.launcher.fails = true;
  const v1::Job failed = h.Run(Harness::Spec("run", "log ok"));
  EXPECT_EQ(failed.state(), kFailed);
  h.launcher.fails = false;
  ASSERT_OK(h.core.Call([&] { return h.jobs->Retry(failed.id(), "bob"); }));
  const v1::Job done = h.WaitForState(failed.id(), kSucceeded);
  EXPECT_EQ(done.attempts_size(), 2);
  EXPECT_EQ(done.attempts_before_retry(), 1u);
  EXPECT_THAT(h.core.Call([&] { return h.jobs->Retry(failed.id(), "bob"); }),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("SUCCEEDED")));
}

// --- recipes --------------------------------------------------------------------------------------------------------

TEST_F(JobsTest, TheSameEditAgainIsAnsweredAtOnceAndMovesTheRef) {
  Harness& h = Open();
  const v1::Job first = h.Run(Harness::Spec("make", "version 1;result fine", "a"));
  const auto second = h.Submit(Harness::Spec("make", "version 1;result fine", "b"));
  ASSERT_OK(second);
  EXPECT_EQ(second->state(), kSucceeded);
  EXPECT_TRUE(second->from_recipe());
  EXPECT_EQ(second->output_version(), first.output_version());
  EXPECT_TRUE(second->has_result());
  EXPECT_EQ(second->attempts_size(), 0);
  EXPECT_EQ(h.core.Call([&] { return h.store->Resolve("b")->Hex(); }), first.output_version());
  EXPECT_THAT(h.States(second->id()), ElementsAre(kSucceeded));
}

TEST_F(JobsTest, AResultWithoutAVersionIsRememberedToo) {
  Harness& h = Open();
  h.Run(Harness::Spec("run", "result 42"));
  EXPECT_TRUE(h.Submit(Harness::Spec("run", "result 42"))->from_recipe());
  EXPECT_FALSE(h.Submit(Harness::Spec("run", "result 43"))->from_recipe());
  Open();
  EXPECT_TRUE(harness_->Submit(Harness::Spec("run", "result 42"))->from_recipe());
}

TEST_F(JobsTest, ForceRunsAgainAndComparesTheContent) {
  Harness& h = Open();
  const v1::Job first = h.Run(Harness::Spec("make", "version 1", "a"));
  const v1::Job again = h.Run(Harness::Spec("make", "version 1", "a"), /*force=*/true);
  EXPECT_EQ(again.state(), kSucceeded);
  EXPECT_FALSE(again.from_recipe());
  EXPECT_EQ(again.attempts_size(), 1);
  EXPECT_EQ(again.output_version(), first.output_version());
}

TEST_F(JobsTest, ARequestIdMakesOneJob) {
  Harness& h = Open();
  const auto first = h.Submit(Harness::Spec("run", "log a"), false, "request-1");
  EXPECT_EQ(h.Submit(Harness::Spec("run", "log a"), false, "request-1")->id(), first->id());
  h.WaitForState(first->id(), kSucceeded);
  Open();
  EXPECT_EQ(harness_->Submit(Harness::Spec("run", "log a"), false, "request-1")->id(), first->id());
}

// --- waiting --------------------------------------------------------------------------------------------------------

TEST_F(JobsTest, AWaitingJobSaysWhy) {
  Harness& h = Open();
  const auto first = h.Submit(Harness::Spec("run", "log here;hang"));
  h.WaitForWork(first->id());
  const auto second = h.Submit(Harness::Spec("run", "log b"));
  const auto third = h.Submit(Harness::Spec("run", "log c"));
  const v1::Job waiting = h.WaitFor(third->id(), [](const v1::Job& job) { return !job.reason_text().empty(); });
  EXPECT_EQ(h.Get(second->id()).reason(), v1::PENDING_REASON_RESOURCES);
  EXPECT_EQ(waiting.reason(), v1::PENDING_REASON_PRIORITY);
  EXPECT_THAT(*h.core.Call([&] { return h.jobs->Why(third->id()); }),
              ElementsAre(HasSubstr("job " + std::to_string(second->id()) + " goes first")));
}

TEST_F(JobsTest, AJobWaitsForItsPluginsFile) {
  Harness& h = Open();
  const auto first = h.Submit(Harness::Spec("run", "log here;sleep 200"));
  const auto second = h.Submit(Harness::Spec("make", "version 1", "m"));
  ASSERT_OK(second);
  ASSERT_EQ(::unlink((dir_ / "state-plugins/make.so").c_str()), 0);
  h.WaitForState(first->id(), kSucceeded);
  const v1::Job waiting =
      h.WaitFor(second->id(), [](const v1::Job& job) { return job.reason() == v1::PENDING_REASON_PLUGIN_MISSING; });
  EXPECT_THAT(waiting.reason_text(), HasSubstr("gone or has changed"));
}

// --- the daemon's end -----------------------------------------------------------------------------------------------

TEST_F(JobsTest, WhatRanWhenTheDaemonEndedIsTriedAgain) {
  Harness& h = Open();
  const auto job = h.Submit(Harness::Spec("run", "log here;sleep 400"));
  h.WaitForWork(job->id());
  Open();  // The old one ends at once, its attempt with it.
  const v1::Job done = harness_->WaitForState(job->id(), kSucceeded);
  ASSERT_EQ(done.attempts_size(), 2);
  EXPECT_EQ(done.attempts(0).exit_class(), v1::EXIT_CLASS_INTERRUPTED);
  EXPECT_EQ(done.attempts(1).exit_class(), v1::EXIT_CLASS_OK);
}

// As a kill -9 leaves them.
TEST_F(JobsTest, RowsOfADeadDaemonAreSettledAtStart) {
  v1::Job job;
  {
    Harness& h = Open();
    job = h.Run(Harness::Spec("run", "log here"));
    for (v1::JobState state : {kStarting, kRunning, kCommitting}) {
      v1::Job row = job;
      row.set_id(h.store->NextJobId());
      row.set_state(state);
      row.clear_ended();
      row.set_recipe("another " + v1::JobState_Name(state));
      row.mutable_attempts(0)->clear_exit_class();
      h.core.Call([&] { ASSERT_OK(h.store->PutJob(row)); });
    }
    v1::Job row = job;
    row.set_id(h.store->NextJobId());
    row.set_state(kRunning);
    row.set_cancel_requested(true);
    h.core.Call([&] { ASSERT_OK(h.store->PutJob(row)); });
    row = job;
    row.set_id(h.store->NextJobId());
    row.set_state(kRunning);
    row.mutable_spec()->mutable_limits()->set_max_attempts(1);
    h.core.Call([&] { ASSERT_OK(h.store->PutJob(row)); });
  }
  Harness& h = Open();
  for (uint64_t id = job.id() + 1; id <= job.id() + 3; ++id) {
    const v1::Job done = h.WaitForState(id, kSucceeded);
    EXPECT_EQ(done.attempts(0).exit_class(), v1::EXIT_CLASS_INTERRUPTED);
    EXPECT_EQ(done.attempts_size(), 2);
    EXPECT_EQ(h.States(id)[0], kPending);
  }
  EXPECT_EQ(h.Get(job.id() + 4).state(), kCancelled);
  EXPECT_EQ(h.Get(job.id() + 5).state(), kFailed);
}

TEST_F(JobsTest, DrainingLetsRunningJobsEndAndStartsNone) {
  Harness& h = Open();
  const auto running = h.Submit(Harness::Spec("run", "log here;sleep 300"));
  const auto waiting = h.Submit(Harness::Spec("run", "log b"));
  h.WaitForWork(running->id());
  std::promise<void> idle;
  h.core.Post([&] { h.jobs->Drain([&] { idle.set_value(); }); });
  idle.get_future().wait();
  EXPECT_EQ(h.Get(running->id()).state(), kSucceeded);
  EXPECT_EQ(h.Get(waiting->id()).state(), kPending);
  EXPECT_EQ(h.Get(waiting->id()).reason(), v1::PENDING_REASON_DRAINING);
  EXPECT_THAT(h.Submit(Harness::Spec("run", "log c")), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("end")));
}

}  // namespace
}  // namespace editd::daemon
