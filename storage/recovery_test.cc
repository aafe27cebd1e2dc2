// A process that publishes is killed at random moments. Whatever it acknowledged must be there afterwards, and the
// store must verify clean. (A kill is no power loss: that rests on the order of syncs, which publish.cc explains.)
//
// The victim is this program itself, started with --publish DIRECTORY ROUND; it writes a line for each acknowledged
// publish.
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <sstream>

#include "storage/testing.h"

extern char** environ;

namespace editd::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kRounds = 12;

// Publishes until it is killed: tensors old and new, files, a ref that moves, jobs.
int PublishForever(const std::string& directory, int round) {
  absl::StatusOr<std::unique_ptr<Store>> store = Store::Open(directory);
  if (!store.ok()) {
    std::fprintf(stderr, "%s\n", store.status().ToString().c_str());
    return 1;
  }
  Id parent = (*store)->Resolve("model").value_or(Id{});
  for (int i = 0;; ++i) {
    Made made;
    made.job = (*store)->NextJobId();
    made.recipe = StrCat(round, ".", i);
    made.tensors = {{"same", std::string(70000, 's')}, {"new", StrCat(std::string(200000, 'n'), made.recipe)}};
    made.files = {{"config.json", "{}"}, {"tokenizer.json", made.recipe}};
    if (!parent.empty()) made.parents = {parent};
    PublishRequest request = Stage(store->get(), made);
    request.ref = "model";
    request.ref_expected = parent;
    const absl::StatusOr<Published> published = (*store)->Publish(std::move(request));
    if (!published.ok() || !published->ref_moved) {
      std::fprintf(stderr, "%s\n", published.status().ToString().c_str());
      return 1;
    }
    parent = published->version;
    const std::string line = StrCat(parent.Hex(), " ", made.job, "\n");
    if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) return 1;
    (void)(*store)->RemoveStaging(made.job, 1);
  }
}

// Starts the victim, kills it after `delay`, and returns what it said.
std::string RunVictim(const std::string& directory, int round, std::chrono::milliseconds delay) {
  int pipe_ends[2];
  EXPECT_EQ(::pipe(pipe_ends), 0);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
  std::string program = "/proc/self/exe", flag = "--publish", path = directory, number = StrCat(round);
  char* arguments[] = {program.data(), flag.data(), path.data(), number.data(), nullptr};
  pid_t pid = 0;
  EXPECT_EQ(::posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ), 0);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_ends[1]);
  ::usleep(static_cast<useconds_t>(std::chrono::microseconds(delay).count()));
  ::kill(pid, SIGKILL);
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the victim ended by itself, status " << status;
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = ::read(pipe_ends[0], buffer, sizeof(buffer))) > 0;) said.append(buffer, static_cast<size_t>(n));
  ::close(pipe_ends[0]);
  return said;
}

class RecoveryTest : public StoreTest {};

TEST_F(RecoveryTest, WhatWasAcknowledgedSurvivesAKill) {
  std::mt19937 random(20261122);
  std::vector<std::pair<std::string, uint64_t>> acknowledged;
  int slowness = 1;  // Where a victim does not even get to its first version, the next one lives longer.
  for (int round = 0; round < kRounds || (acknowledged.empty() && slowness < 100); ++round) {
    store_.reset();
    if (round > 0 && acknowledged.empty()) slowness *= 2;
    const std::chrono::milliseconds delay(slowness * std::uniform_int_distribution<int>(20, 400)(random));
    std::istringstream said(RunVictim(path(), round, delay));
    uint64_t job = 0;
    for (std::string version; said >> version >> job;) acknowledged.emplace_back(version, job);
    Reopen();
    for (const auto& [version, job_id] : acknowledged) {
      ASSERT_OK(store().GetVersion(*Id::FromHex(version), true));
      ASSERT_OK_AND_ASSIGN(const editd::v1::Job stored, store().GetJob(job_id));
      ASSERT_EQ(stored.output_version(), version);
    }
    if (!acknowledged.empty()) {
      // The ref is at the last acknowledged version, or at one that was made after it and not acknowledged any more.
      ASSERT_OK_AND_ASSIGN(const Id now, store().Resolve("model"));
      std::vector<std::string> line;
      for (const Id& id : store().Log(now)) line.push_back(id.Hex());
      EXPECT_THAT(line, ::testing::Contains(acknowledged.back().first));
      EXPECT_GE(line.size(), acknowledged.size());
    }
    EXPECT_TRUE(std::filesystem::is_empty(path() + "/staging"));
    EXPECT_THAT(Verify(), IsEmpty()) << "round " << round;
  }
  EXPECT_GT(acknowledged.size(), 0u);
  // What the kills left behind is swept once it is old.
  now_ += absl::Hours(2);
  Reopen();
  EXPECT_EQ(Files("packs").size(), store().Stats().packs);
  EXPECT_EQ(Files("assets").size(), store().Stats().assets);
}

// A file system that takes no more, by way of a limit on the size of files.
class SizeLimit {
 public:
  explicit SizeLimit(rlim_t bytes) {
    ::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

TEST_F(RecoveryTest, AFailedWriteOfAnAssetLeavesNothing) {
  {
    const SizeLimit limit(100000);
    EXPECT_FALSE(store().PutAssetBytes(std::string(200000, 'x'), "large.txt").ok());
  }
  EXPECT_THAT(Files("incoming"), IsEmpty());
  EXPECT_THAT(Files("assets"), IsEmpty());
  EXPECT_OK(store().PutAssetBytes(std::string(200000, 'x'), "large.txt"));
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(RecoveryTest, AFailedCommitShowsNothingAndTheStoreGoesOn) {
  const Id first = Publish({{{"a", "1"}}, {}, {}}, "smol");
  PublishRequest request = Stage(store_.get(), {{{"a", "2"}}, {}, {first}, "2", 2});
  request.ref = "smol";
  request.ref_expected = first;
  request.job.set_reason_text(std::string(300000, 'x'));  // So that the log must grow beyond the limit.
  {
    const SizeLimit limit(200000);
    EXPECT_THAT(store().Publish(std::move(request)),
                StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("catalogue: write")));
  }
  EXPECT_EQ(*store().Resolve("smol"), first);
  EXPECT_FALSE(store().GetJob(2).ok());
  EXPECT_THAT(Files("packs"), ::testing::SizeIs(1));
  EXPECT_THAT(Verify(), IsEmpty());
  editd::v1::Job job;
  job.set_id(3);
  EXPECT_OK(store().PutJob(job));
  Reopen();
  EXPECT_OK(store().PutJob(job));
  EXPECT_EQ(*store().Resolve("smol"), first);
  EXPECT_THAT(Verify(), IsEmpty());
}

}  // namespace
}  // namespace editd::storage

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "--publish") {
    return editd::storage::PublishForever(argv[2], std::atoi(argv[3]));
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
