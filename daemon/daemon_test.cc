// The whole daemon on its sockets, with a gRPC client.
#include "daemon/daemon.h"

#include <grpcpp/grpcpp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "daemon/process_launcher.h"
#include "daemon/testing/fake_plugin.h"
#include "editd/v1/service.grpc.pb.h"
#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

class DaemonTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ::mkdir((dir_ / "plugins").c_str(), 0755);
    for (const char* name : {"run", "make"}) std::ofstream(dir_ / "plugins/" + name + ".so") << name;
    Start();
  }

  Config TestConfig() const {
    Config config;
    config.state_dir = dir_ / "state";
    config.socket = dir_ / "editd.sock";
    config.transfer_socket = dir_ / "transfer.sock";
    config.plugin_dirs = {dir_ / "plugins"};
    config.disk_reserve = 1;
    config.memory_budget = config.default_memory = 4'000'000'000;
    config.default_threads = 1;
    return config;
  }
  absl::StatusOr<std::unique_ptr<Daemon>> MakeDaemon() const {
    return Daemon::Start(TestConfig(), std::make_unique<ProcessLauncher>(EDITD_BINARY_DIR "/tests/fake_worker"));
  }
  void Start() {
    ASSERT_OK_AND_ASSIGN(daemon_, MakeDaemon());
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = v1::Editor::NewStub(
        grpc::CreateCustomChannel("unix:" + TestConfig().socket, grpc::InsecureChannelCredentials(), arguments));
  }
  void Stop(bool drain = false) {
    daemon_->RequestEnd(drain);
    EXPECT_OK(daemon_->WaitForEnd());
    daemon_.reset();
  }

  uint64_t Submit(const std::string& script) {
    grpc::ClientContext context;
    v1::SubmitRequest request;
    request.mutable_spec()->set_plugin("run");
    *request.mutable_spec()->mutable_params() = FakeParams(script);
    v1::SubmitResponse response;
    const grpc::Status status = stub_->Submit(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.job().id();
  }
  v1::Job Get(uint64_t id) {
    grpc::ClientContext context;
    v1::GetJobRequest request;
    request.set_id(id);
    v1::GetJobResponse response;
    EXPECT_TRUE(stub_->GetJob(&context, request, &response).ok());
    return response.job();
  }
  // Watches from `from_seq` on until the end, or until `most` events have come.
  std::vector<v1::Event> Watch(uint64_t id, uint64_t from_seq, size_t most = 1'000'000, bool follow = true,
                               grpc::Status* ended = nullptr) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_from_seq(from_seq);
    request.set_follow(follow);
    const auto reader = stub_->WatchJob(&context, request);
    std::vector<v1::Event> events;
    v1::WatchJobResponse response;
    while (events.size() < most && reader->Read(&response)) events.push_back(response.event());
    if (events.size() == most) context.TryCancel();
    const grpc::Status status = reader->Finish();
    if (ended != nullptr) *ended = status;
    return events;
  }

  TemporaryDirectory dir_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<v1::Editor::Stub> stub_;
};

TEST_F(DaemonTest, AWatchEndsWithTheJobAndResumesWithoutLoss) {
  const uint64_t id = Submit("log a;log b;sleep 50;log c;metric 1");
  const std::vector<v1::Event> first = Watch(id, 1, 3);
  ASSERT_EQ(first.size(), 3u);
  grpc::Status ended;
  const std::vector<v1::Event> rest = Watch(id, first.back().seq() + 1, 1000, /*follow=*/true, &ended);
  EXPECT_TRUE(ended.ok());
  ASSERT_FALSE(rest.empty());
  EXPECT_EQ(rest.front().seq(), 4u);
  for (size_t i = 1; i < rest.size(); ++i) EXPECT_EQ(rest[i].seq(), rest[i - 1].seq() + 1);
  EXPECT_EQ(rest.back().state().to(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_TRUE(Watch(id, rest.back().seq() + 1).empty());  // Ends at once.
}

TEST_F(DaemonTest, AWatchWithoutFollowGivesWhatThereIs) {
  const uint64_t id = Submit("log a;hang");
  grpc::Status ended;
  EXPECT_FALSE(Watch(id, 1, 1000, /*follow=*/false, &ended).empty());
  EXPECT_TRUE(ended.ok());
}

TEST_F(DaemonTest, ManyWatchersOfALongLogEachSeeAllOfIt) {
  std::string script;
  for (int i = 0; i < 2000; ++i) script += "log a line;";
  const uint64_t id = Submit(script);
  std::atomic<size_t> seen = 0;
  std::vector<std::thread> watchers;
  for (int i = 0; i < 8; ++i) {
    watchers.emplace_back([&] {
      grpc::ClientContext context;
      v1::WatchJobRequest request;
      request.set_id(id);
      request.set_follow(true);
      const auto reader = stub_->WatchJob(&context, request);
      v1::WatchJobResponse response;
      while (reader->Read(&response)) ++seen;
      EXPECT_TRUE(reader->Finish().ok());
    });
  }
  for (std::thread& watcher : watchers) watcher.join();
  EXPECT_EQ(seen, 8 * Watch(id, 1).size());
}

TEST_F(DaemonTest, TheSubmitterIsThePeerOfTheSocket) {
  const v1::Job job = Get(Submit("log a"));
  EXPECT_EQ(job.uid(), ::getuid());
  const struct passwd* const entry = ::getpwuid(::getuid());
  EXPECT_EQ(job.user(), entry == nullptr ? std::to_string(::getuid()) : entry->pw_name);
}

TEST_F(DaemonTest, TheSocketIsItsOwnersAlone) {
  struct stat info;
  ASSERT_EQ(::stat(TestConfig().socket.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(DaemonTest, ErrorsAreTheSentenceForTheUser) {
  grpc::ClientContext context;
  v1::SubmitRequest request;
  request.mutable_spec()->set_plugin("runn");
  v1::SubmitResponse response;
  const grpc::Status status = stub_->Submit(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "plugin: there is no plugin \"runn\"; did you mean \"run\"?");
  grpc::ClientContext second;
  v1::GetJobRequest missing;
  missing.set_id(99);
  v1::GetJobResponse job;
  EXPECT_EQ(stub_->GetJob(&second, missing, &job).error_message(), "there is no job 99");
}

TEST_F(DaemonTest, ASecondDaemonDoesNotTouchTheState) {
  EXPECT_THAT(MakeDaemon(), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("in use by another daemon")));
  EXPECT_EQ(Get(Submit("log a")).spec().plugin(), "run");
}

TEST_F(DaemonTest, ShutdownInterruptsAndTheNextStartGoesOn) {
  const uint64_t id = Submit("log here;sleep 300");
  Watch(id, 1, 4);
  const absl::Time before = absl::Now();
  grpc::ClientContext context;
  v1::ShutdownResponse response;
  EXPECT_TRUE(stub_->Shutdown(&context, v1::ShutdownRequest(), &response).ok());
  EXPECT_OK(daemon_->WaitForEnd());
  daemon_.reset();
  EXPECT_LT(absl::Now() - before, absl::Seconds(5));
  EXPECT_NE(::access(TestConfig().socket.c_str(), F_OK), 0);
  Start();
  const std::vector<v1::Event> events = Watch(id, 1);
  EXPECT_EQ(events.back().state().to(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(Get(id).attempts(0).exit_class(), v1::EXIT_CLASS_INTERRUPTED);
}

TEST_F(DaemonTest, DrainWaitsForTheRunningJob) {
  const uint64_t id = Submit("log here;sleep 300");
  Watch(id, 1, 4);
  Stop(/*drain=*/true);
  Start();
  EXPECT_EQ(Get(id).state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_EQ(Get(id).attempts_size(), 1);
}

// A store with many files: a submit is stored and answered while the collection still goes on.
TEST_F(DaemonTest, ASubmitIsAnsweredWhileGarbageIsCollected) {
  const std::string folder = dir_ / "state/assets/00";
  std::filesystem::create_directories(folder);
  const auto orphan = [&](int i) { return folder + "/orphan" + std::to_string(i); };
  constexpr int kFiles = 20'000;
  for (int i = 0; i < kFiles; ++i) std::ofstream(orphan(i)) << "x";
  Submit("log the plugin's check is warm now");
  std::atomic<bool> ended = false;
  std::thread collector([&] {
    grpc::ClientContext context;
    v1::CollectGarbageRequest request;
    request.set_grace_set(true);
    v1::CollectGarbageResponse response;
    EXPECT_TRUE(stub_->CollectGarbage(&context, request, &response).ok());
    EXPECT_EQ(response.garbage_size(), kFiles);
    ended = true;
  });
  // It has begun once a file is gone.
  int left = kFiles;
  while (left == kFiles && !ended) {
    left = static_cast<int>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }
  const uint64_t id = Submit("log a");
  EXPECT_GT(id, 0u);
  EXPECT_FALSE(ended) << "of " << kFiles << " files " << left << " were left when the submit was sent";
  collector.join();
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 0);
}

TEST_F(DaemonTest, AWatchIsToldWhenTheDaemonEnds) {
  const uint64_t id = Submit("log here;hang");
  grpc::Status ended;
  std::thread watcher([&] { Watch(id, 1, 1000, /*follow=*/true, &ended); });
  Watch(id, 1, 4);
  Stop();
  watcher.join();
  EXPECT_EQ(ended.error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace editd::daemon
