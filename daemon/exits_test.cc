#include "daemon/exits.h"

#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::HasSubstr;

v1::Job JobWith(uint32_t max_attempts, const std::vector<v1::ExitClass>& ends) {
  v1::Job job;
  job.mutable_spec()->mutable_limits()->set_max_attempts(max_attempts);
  for (v1::ExitClass end : ends) {
    v1::Attempt* attempt = job.add_attempts();
    attempt->set_number(static_cast<uint32_t>(job.attempts_size()));
    attempt->set_exit_class(end);
  }
  return job;
}

bool Again(uint32_t max_attempts, const std::vector<v1::ExitClass>& ends) {
  return StartsAgain(JobWith(max_attempts, ends), ends.back());
}

TEST(StartsAgain, AnInterruptedJobWhileAttemptsAreLeft) {
  const auto interrupted = v1::EXIT_CLASS_INTERRUPTED;
  EXPECT_TRUE(Again(3, {interrupted}));
  EXPECT_TRUE(Again(3, {interrupted, interrupted}));
  EXPECT_FALSE(Again(3, {interrupted, interrupted, interrupted}));
}

TEST(StartsAgain, ACrashOnce) {
  EXPECT_TRUE(Again(5, {v1::EXIT_CLASS_CRASHED}));
  EXPECT_FALSE(Again(5, {v1::EXIT_CLASS_CRASHED, v1::EXIT_CLASS_CRASHED}));
  EXPECT_FALSE(Again(5, {v1::EXIT_CLASS_CRASHED, v1::EXIT_CLASS_HUNG}));
  EXPECT_TRUE(Again(5, {v1::EXIT_CLASS_INTERRUPTED, v1::EXIT_CLASS_HUNG}));
  EXPECT_FALSE(Again(1, {v1::EXIT_CLASS_CRASHED}));
}

TEST(StartsAgain, NothingElse) {
  for (v1::ExitClass end : {v1::EXIT_CLASS_PLUGIN_ERROR, v1::EXIT_CLASS_INVALID_OUTPUT, v1::EXIT_CLASS_OUT_OF_MEMORY,
                            v1::EXIT_CLASS_TIMED_OUT, v1::EXIT_CLASS_LAUNCH_FAILED, v1::EXIT_CLASS_COMMIT_FAILED,
                            v1::EXIT_CLASS_CANCELLED}) {
    EXPECT_FALSE(Again(5, {end})) << v1::ExitClass_Name(end);
  }
}

TEST(StartsAgain, NotIfAUserCancelledIt) {
  v1::Job job = JobWith(5, {v1::EXIT_CLASS_INTERRUPTED});
  job.set_cancel_requested(true);
  EXPECT_FALSE(StartsAgain(job, v1::EXIT_CLASS_INTERRUPTED));
}

TEST(StartsAgain, ARetryByHandCountsAnew) {
  v1::Job job = JobWith(2, {v1::EXIT_CLASS_CRASHED, v1::EXIT_CLASS_CRASHED, v1::EXIT_CLASS_CRASHED});
  job.set_attempts_before_retry(2);
  EXPECT_TRUE(StartsAgain(job, v1::EXIT_CLASS_CRASHED));
}

TEST(Classify, WhatTheDaemonDidComesBeforeWhatTheWorkerSaid) {
  Ended ended;
  ended.reply.emplace();
  ended.why = Ending::kCancelled;
  EXPECT_EQ(Classify(ended).exit_class, v1::EXIT_CLASS_CANCELLED);
  ended.why = Ending::kTimedOut;
  ended.time_limit = absl::Seconds(60);
  EXPECT_THAT(Classify(ended).message, HasSubstr("limit of 60 s"));
}

TEST(Classify, AReplyCountsHoweverTheWorkerThenEnded) {
  Ended ended;
  ended.reply.emplace();
  ended.exit.status = -9;
  EXPECT_EQ(Classify(ended).exit_class, v1::EXIT_CLASS_OK);
}

TEST(Classify, MemoryIsToldApart) {
  Ended ended;
  ended.exit.status = kWorkerOutOfMemory;
  ended.exit.peak_rss_bytes = 300'000'000;
  ended.memory_limit = 310'000'000;
  EXPECT_EQ(Classify(ended).exit_class, v1::EXIT_CLASS_OUT_OF_MEMORY);
  EXPECT_THAT(Classify(ended).message, HasSubstr("310.0 MB"));
}

TEST(Texts, AreForPeople) {
  EXPECT_EQ(SizeText(999), "999 B");
  EXPECT_EQ(SizeText(3'140'000'000), "3.1 GB");
  EXPECT_EQ(DurationText(absl::Seconds(90)), "90 s");
  EXPECT_EQ(DurationText(absl::Hours(24)), "24 h");
}

}  // namespace
}  // namespace editd::daemon
