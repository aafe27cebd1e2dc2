// Drives the real edit-worker over a socketpair, as the daemon does.
#include "plugins/host/worker.h"

#include <fcntl.h>
#include <google/protobuf/any.pb.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <optional>

#include "editd/v1/worker.pb.h"
#include "misbehave.pb.h"
#include "storage/base/frame.h"
#include "storage/base/pack.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"
#include "storage/base/utf8.h"

namespace editd::host {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
namespace misbehave = editd::tests::misbehave::v1;

const std::string kPlugins = std::string(EDITD_BINARY_DIR) + "/tests/plugins/";

// A worker process and our end of its socket.
class WorkerProcess {
 public:
  explicit WorkerProcess(uint64_t memory_bytes = 0) {
    auto pair = *FrameSocket::Pair();
    const int theirs = pair.second.get();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(theirs, 3);
      ::fcntl(3, F_SETFD, 0);
      if (memory_bytes > 0) {
        const struct rlimit limit = {memory_bytes, memory_bytes};
        ::setrlimit(RLIMIT_DATA, &limit);
      }
      ::execl((std::string(EDITD_BINARY_DIR) + "/bin/edit-worker").c_str(), "edit-worker", nullptr);
      ::_exit(127);
    }
    socket_ = std::make_unique<FrameSocket>(std::move(pair.first));
  }
  ~WorkerProcess() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }

  FrameSocket& socket() { return *socket_; }
  pid_t pid() const { return pid_; }

  void Send(const v1::ToWorker& message, std::span<const int> fds = {}) {
    EXPECT_OK(socket_->Send(message.SerializeAsString(), fds));
  }
  // The next frame; nothing if the worker has closed, or says nothing for so long.
  std::optional<v1::FromWorker> Next(int milliseconds = 60000) {
    for (;;) {
      auto frame = socket_->TryReceive();
      if (!frame.ok()) return std::nullopt;
      if (frame->has_value()) {
        v1::FromWorker message;
        EXPECT_TRUE(message.ParseFromString((*frame)->message));
        return message;
      }
      struct pollfd wait = {socket_->fd(), POLLIN, 0};
      if (::poll(&wait, 1, milliseconds) == 0) return std::nullopt;
    }
  }
  // Frames up to the run's reply, which is the last one.
  std::vector<v1::FromWorker> All() {
    std::vector<v1::FromWorker> out;
    while (auto frame = Next()) {
      out.push_back(*std::move(frame));
      if (out.back().has_run()) break;
    }
    return out;
  }
  // Exit status, or minus the signal.
  int Wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_;
  std::unique_ptr<FrameSocket> socket_;
};

class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() {
    std::filesystem::create_directory(dir_ / "staging");
    staging_.Reset(::open((dir_ / "staging").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  }

  static v1::ToWorker RunRequest(const misbehave::MisbehaveSpec& spec) {
    v1::ToWorker message;
    v1::RunRequest* run = message.mutable_run();
    run->set_plugin_path(kPlugins + "misbehave.so");
    run->set_plugin_hash(Sha256::Of(*ReadWholeFile(run->plugin_path())).Hex());
    run->mutable_input()->set_job(1);
    run->mutable_input()->set_spec(spec.SerializeAsString());
    run->mutable_input()->set_seed(7);
    run->mutable_input()->set_threads(2);
    run->set_heartbeat_seconds(1);
    run->set_require_finite(true);
    return message;
  }
  static v1::ToWorker RunRequest(misbehave::Mode mode, uint64_t amount = 0) {
    misbehave::MisbehaveSpec spec;
    spec.set_mode(mode);
    spec.set_amount(amount);
    return RunRequest(spec);
  }

  // Runs a job without inputs to its end.
  v1::RunReply Run(const v1::ToWorker& request) {
    WorkerProcess worker;
    const int fds[] = {staging_.get()};
    worker.Send(request, fds);
    frames_ = worker.All();
    EXPECT_FALSE(frames_.empty());
    if (frames_.empty()) return {};
    EXPECT_TRUE(frames_.back().has_run());
    EXPECT_EQ(worker.Wait(), 0);
    return frames_.back().run();
  }

  TemporaryDirectory dir_;
  UniqueFd staging_;
  std::vector<v1::FromWorker> frames_;
};

MATCHER_P3(FailsWith, code, message, invalid_output, "") {
  *result_listener << arg.error().ShortDebugString();
  return arg.has_error() && arg.error().code() == static_cast<int>(code) &&
         ::testing::Matches(message)(arg.error().message()) && arg.error().invalid_output() == invalid_output;
}

TEST_F(WorkerTest, DescribesAPluginAndChecksSpecs) {
  WorkerProcess worker;
  v1::ToWorker message;
  message.mutable_describe()->set_plugin_path(kPlugins + "misbehave.so");
  worker.Send(message);
  auto reply = worker.Next();
  ASSERT_TRUE(reply.has_value());
  EXPECT_FALSE(reply->describe().has_error()) << reply->ShortDebugString();
  EXPECT_THAT(reply->describe().plugin(), AllOf(HasSubstr("editd.tests.misbehave.v1.MisbehaveSpec"),
                                                HasSubstr("goes wrong"), HasSubstr("# proto-file:")));
  for (int i = 0; i < 3; ++i) {
    misbehave::MisbehaveSpec spec;
    spec.set_finding(StrCat("problem ", i));
    spec.set_estimate_memory(1000);
    message.mutable_check()->set_plugin_path(kPlugins + "misbehave.so");
    message.mutable_check()->mutable_input()->set_spec(spec.SerializeAsString());
    worker.Send(message);
    reply = worker.Next();
    ASSERT_TRUE(reply.has_value());
    EXPECT_THAT(reply->check().findings(), ElementsAre(StrCat("params.finding: problem ", i)));
    EXPECT_EQ(reply->check().memory_bytes(), 1000u);
  }
  message.mutable_check()->set_plugin_path(kPlugins + "noop.so");
  worker.Send(message);
  reply = worker.Next();
  ASSERT_TRUE(reply.has_value());
  EXPECT_THAT(reply->check(), FailsWith(absl::StatusCode::kFailedPrecondition, HasSubstr("this worker serves"), false));
  worker.socket().Shutdown();
  EXPECT_EQ(worker.Wait(), 0);
}

TEST_F(WorkerTest, AJobGetsItsInputsAndMakesAVersion) {
  // A pack of two tensors, a file of the model, and a file that the spec names.
  std::string pack(8192, '\0');
  for (size_t i = 0; i < pack.size(); ++i) pack[i] = static_cast<char>(i % 7);
  ASSERT_OK(WriteFileAtomically(dir_ / "pack", pack));
  ASSERT_OK(WriteFileAtomically(dir_ / "config", "{}"));
  ASSERT_OK(WriteFileAtomically(dir_ / "corpus", "hello"));
  ASSERT_OK_AND_ASSIGN(UniqueFd pack_fd, OpenForRead(dir_ / "pack"));
  ASSERT_OK_AND_ASSIGN(UniqueFd config_fd, OpenForRead(dir_ / "config"));
  ASSERT_OK_AND_ASSIGN(UniqueFd corpus_fd, OpenForRead(dir_ / "corpus"));
  misbehave::MisbehaveSpec spec;
  spec.set_path("asset:00");
  spec.set_amount(1 << 20);
  v1::ToWorker request = RunRequest(spec);
  v1::JobInput* input = request.mutable_run()->mutable_input();
  v1::InputModel* model = input->add_models();
  model->set_name("base");
  (*model->mutable_attributes())["color"] = "green";
  for (int i = 0; i < 2; ++i) {
    v1::InputTensor* tensor = model->add_tensors();
    tensor->set_name(StrCat("t", i));
    tensor->set_dtype("BF16");
    tensor->add_shape(16);
    tensor->add_shape(4);
    tensor->set_id(std::string(64, static_cast<char>('a' + i)));
    tensor->set_offset(4096 + 128 * i);
    tensor->set_size(128);
  }
  v1::InputFile* config = model->add_files();
  config->set_name("config.json");
  config->set_fd(1);
  config->set_size(2);
  config->set_asset(std::string(64, 'c'));
  v1::InputFile* corpus = input->add_files();
  corpus->set_value("asset:00");
  corpus->set_fd(2);
  corpus->set_size(5);
  request.mutable_run()->set_staging(3);

  WorkerProcess worker;
  v1::ToWorker more;
  more.mutable_more_descriptors();
  const int first[] = {pack_fd.get(), config_fd.get()}, second[] = {corpus_fd.get(), staging_.get()};
  worker.Send(more, first);
  worker.Send(request, second);
  const std::vector<v1::FromWorker> frames = worker.All();
  ASSERT_FALSE(frames.empty());
  const v1::RunReply& reply = frames.back().run();
  EXPECT_FALSE(reply.has_error()) << reply.error().message();
  EXPECT_TRUE(reply.makes_version());
  EXPECT_GT(reply.peak_rss_bytes(), 5'000'000u);  // A process with libprotobuf in it.

  ASSERT_EQ(reply.tensors_size(), 3);
  EXPECT_EQ(reply.tensors(0).name(), "made");
  EXPECT_TRUE(reply.tensors(0).is_new());
  EXPECT_EQ(reply.tensors(1).id(), std::string(64, 'a'));
  EXPECT_FALSE(reply.tensors(1).is_new());
  EXPECT_EQ(reply.attributes().at("parent"), "green");
  ASSERT_EQ(reply.files_size(), 2);
  EXPECT_EQ(reply.files(0).asset(), std::string(64, 'c'));
  EXPECT_EQ(reply.files(1).name(), "copy");
  EXPECT_EQ(*ReadWholeFile(dir_ / ("staging/" + reply.files(1).file())), "hello");

  // The pack is what the reply says.
  ASSERT_OK_AND_ASSIGN(MappedFile made, MappedFile::Open(dir_ / ("staging/" + reply.pack_file())));
  EXPECT_EQ(made.size(), reply.pack_size());
  ASSERT_OK_AND_ASSIGN(PackHeader header, ParsePackHeader(made.view()));
  EXPECT_EQ(header.id.Hex(), reply.pack_id());
  const std::string_view bytes = made.view().substr(reply.tensors(0).offset(), reply.tensors(0).size());
  const int64_t shape[] = {1 << 18};
  EXPECT_EQ(HashContent(ContentKind::Tensor(DType::kF32, shape), bytes).Hex(), reply.tensors(0).id());

  google::protobuf::Any any;
  ASSERT_TRUE(any.ParseFromString(reply.result()));
  misbehave::MisbehaveResult result;
  ASSERT_TRUE(any.UnpackTo(&result));
  EXPECT_EQ(result.seed(), 7u);
  EXPECT_EQ(result.threads(), 2u);
  uint64_t sum = '{' + '}';
  for (size_t i = 4096; i < 4096 + 256; ++i) sum += static_cast<uint8_t>(pack[i]);
  EXPECT_EQ(result.input_sum(), sum);
}

TEST_F(WorkerTest, ErrorsOfThePluginComeThrough) {
  EXPECT_THAT(Run(RunRequest(misbehave::MODE_FAIL)),
              FailsWith(absl::StatusCode::kFailedPrecondition, "asked to fail", false));
  EXPECT_THAT(Run(RunRequest(misbehave::MODE_THROW)),
              FailsWith(absl::StatusCode::kInternal, HasSubstr("asked to throw"), false));
}

TEST_F(WorkerTest, WrongOutputIsRefusedWithItsName) {
  EXPECT_THAT(Run(RunRequest(misbehave::MODE_NAN)),
              FailsWith(absl::StatusCode::kFailedPrecondition, AllOf(HasSubstr("made"), HasSubstr("12")), true));
  EXPECT_THAT(Run(RunRequest(misbehave::MODE_REFUSE)),
              FailsWith(absl::StatusCode::kFailedPrecondition, "asked to refuse", true));
}

class WrongOutput : public WorkerTest, public ::testing::WithParamInterface<std::pair<misbehave::Mode, const char*>> {};
TEST_P(WrongOutput, IsRefused) {
  const v1::RunReply reply = Run(RunRequest(GetParam().first));
  EXPECT_TRUE(reply.error().invalid_output());
  EXPECT_THAT(reply.error().message(), HasSubstr(GetParam().second));
  EXPECT_EQ(reply.tensors_size(), 0);
}
INSTANTIATE_TEST_SUITE_P(
    Each, WrongOutput,
    ::testing::Values(std::pair(misbehave::MODE_SHORT, "tensor \"made\" lacks its last 4 bytes"),
                      std::pair(misbehave::MODE_LONG, "tensor \"made\" got 4 bytes more than its shape has"),
                      std::pair(misbehave::MODE_TWICE, "tensor \"made\" was made twice"),
                      std::pair(misbehave::MODE_BAD_NAME, "\"../escape\", which is no plain file name")));

TEST_F(WorkerTest, APluginThatEndsTheProcessLeavesNoReply) {
  for (const auto& [mode, status] : {std::pair(misbehave::MODE_CRASH, -SIGSEGV), std::pair(misbehave::MODE_EXIT, 0)}) {
    WorkerProcess worker;
    const int fds[] = {staging_.get()};
    worker.Send(RunRequest(mode), fds);
    const std::vector<v1::FromWorker> frames = worker.All();
    EXPECT_FALSE(!frames.empty() && frames.back().has_run());
    EXPECT_EQ(worker.Wait(), status);
  }
}

TEST_F(WorkerTest, OutOfMemoryHasAnExitStatusOfItsOwn) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  WorkerProcess worker(256 << 20);
  const int fds[] = {staging_.get()};
  worker.Send(RunRequest(misbehave::MODE_ALLOCATE, 1 << 30), fds);
  const std::vector<v1::FromWorker> frames = worker.All();
  EXPECT_FALSE(!frames.empty() && frames.back().has_run());
  EXPECT_EQ(worker.Wait(), kExitOutOfMemory);
#endif
}

TEST_F(WorkerTest, OnlyAPluginThatWorksHasAHeart) {
  for (const auto& [mode, alive] : {std::pair(misbehave::MODE_SPIN, true), std::pair(misbehave::MODE_HANG, false)}) {
    WorkerProcess worker;
    const int fds[] = {staging_.get()};
    worker.Send(RunRequest(mode), fds);
    int beats = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2600);
    while (std::chrono::steady_clock::now() < end) {
      const auto frame = worker.Next(200);
      if (frame.has_value() && frame->has_heartbeat()) ++beats;
    }
    EXPECT_EQ(beats >= 4, alive) << beats;
    EXPECT_EQ(beats <= 2, !alive) << beats;
  }
}

TEST_F(WorkerTest, StopsWhenToldByAFrameOrASignal) {
  for (const bool by_frame : {true, false}) {
    WorkerProcess worker;
    const int fds[] = {staging_.get()};
    worker.Send(RunRequest(misbehave::MODE_WAIT), fds);
    ASSERT_TRUE(worker.Next().has_value());  // The first heartbeat: it runs.
    if (by_frame) {
      v1::ToWorker stop;
      stop.mutable_stop();
      worker.Send(stop);
    } else {
      ::kill(worker.pid(), SIGTERM);
    }
    const std::vector<v1::FromWorker> frames = worker.All();
    ASSERT_FALSE(frames.empty());
    EXPECT_THAT(frames.back().run(), FailsWith(absl::StatusCode::kCancelled, HasSubstr("stopped"), false));
    EXPECT_EQ(worker.Wait(), 0);
  }
}

TEST_F(WorkerTest, EndsWithItsDaemon) {
  WorkerProcess worker;
  const int fds[] = {staging_.get()};
  worker.Send(RunRequest(misbehave::MODE_SPIN), fds);
  ASSERT_TRUE(worker.Next().has_value());
  worker.socket().Shutdown();
  EXPECT_EQ(worker.Wait(), kExitProtocol);
}

TEST_F(WorkerTest, AFloodOfLinesIsCutAndCounted) {
  const v1::RunReply reply = Run(RunRequest(misbehave::MODE_LOG, 100000));
  EXPECT_FALSE(reply.has_error());
  size_t lines = 0;
  std::string last;
  for (const v1::FromWorker& frame : frames_) {
    if (!frame.has_log()) continue;
    ++lines;
    last = frame.log().text();
  }
  EXPECT_LE(lines, 5000u);
  EXPECT_GE(lines, 2000u);
  EXPECT_THAT(last, HasSubstr("left out"));
}

TEST_F(WorkerTest, TextComesWholeAndInWholeCharacters) {
  const v1::RunReply reply = Run(RunRequest(misbehave::MODE_TELL, 20000));
  EXPECT_FALSE(reply.has_error());
  std::string told[2], expected[2];
  size_t frames = 0;
  for (const v1::FromWorker& frame : frames_) {
    if (!frame.has_text()) continue;
    ++frames;
    ASSERT_LT(frame.text().stream(), 2u);
    EXPECT_TRUE(IsUtf8(frame.text().text()));
    told[frame.text().stream()] += frame.text().text();
  }
  for (int i = 0; i < 20000; ++i) {
    expected[0] += "được ";
    expected[1] += "ok ";
  }
  EXPECT_TRUE(told[0] == expected[0]);
  EXPECT_TRUE(told[1] == expected[1]);
  EXPECT_LT(frames, 500u);  // Of 240,000 calls.
}

TEST_F(WorkerTest, WhatAnAttemptKeepsIsGivenToTheNext) {
  v1::ToWorker request = RunRequest(misbehave::MODE_KEEP);
  std::vector<std::string> told;
  const auto attempt = [&] {
    const UniqueFd last(::open((dir_ / "last").c_str(), O_RDONLY | O_CLOEXEC));
    WorkerProcess worker;
    std::vector<int> fds = {staging_.get()};
    if (last.valid()) {
      request.mutable_run()->set_checkpoint(1);
      fds.push_back(last.get());
    }
    worker.Send(request, fds);
    for (const v1::FromWorker& frame : worker.All()) {
      if (frame.has_log()) told.push_back(frame.log().text());
    }
    EXPECT_EQ(worker.Wait(), 0);
    std::filesystem::rename(dir_ / "staging/checkpoint", dir_ / "last");
  };
  for (int i = 0; i < 3; ++i) attempt();
  EXPECT_THAT(told, IsSupersetOf({"kept: ", "kept: x", "kept: xx"}));
  told.clear();
  request.mutable_run()->set_recipe("another");
  attempt();
  EXPECT_THAT(told, Contains(HasSubstr("is not used: it is another job's, or of another build")));
  EXPECT_THAT(told, Contains("kept: "));
}

TEST_F(WorkerTest, TheSandboxHolds) {
  ASSERT_OK(WriteFileAtomically(dir_ / "secret", "secret"));
  misbehave::MisbehaveSpec spec;
  spec.set_mode(misbehave::MODE_TRESPASS);
  spec.set_forbidden_path(dir_ / "secret");
  const v1::RunReply reply = Run(RunRequest(spec));
  EXPECT_FALSE(reply.has_error()) << reply.error().message();
  google::protobuf::Any any;
  ASSERT_TRUE(any.ParseFromString(reply.result()));
  misbehave::MisbehaveResult result;
  ASSERT_TRUE(any.UnpackTo(&result));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_THAT(result.trespassed(), IsEmpty());
#endif
}

TEST_F(WorkerTest, ExportedFilesLieInTheStagingFolder) {
  const v1::RunReply reply = Run(RunRequest(misbehave::MODE_EXPORT));
  ASSERT_EQ(reply.files_size(), 2) << reply.ShortDebugString();
  EXPECT_TRUE(reply.files(1).exported());
  EXPECT_EQ(reply.files(1).name(), "two.txt");
  EXPECT_EQ(*ReadWholeFile(dir_ / ("staging/" + reply.files(1).file())), "content of two.txt");
  EXPECT_EQ(reply.files(1).size(), std::string_view("content of two.txt").size());
}

TEST_F(WorkerTest, APluginThatIsNotTheJobsIsNotLoaded) {
  v1::ToWorker request = RunRequest(misbehave::MODE_UNSPECIFIED);
  request.mutable_run()->set_plugin_hash(std::string(64, '0'));
  EXPECT_THAT(Run(request), FailsWith(absl::StatusCode::kFailedPrecondition, HasSubstr("has changed"), false));
}

// Copies noop.so with its note's version changed, and a text file.
TEST_F(WorkerTest, AnotherAbiAndOtherFilesAreToldBeforeTheyAreLoaded) {
  ASSERT_OK_AND_ASSIGN(std::string object, ReadWholeFile(kPlugins + "noop.so"));
  const std::string note("\x06\0\0\0\x40\0\0\0\x01\0\0\0editd\0\0\0\x01\0\0\0", 24);
  const size_t at = object.find(note);
  ASSERT_NE(at, std::string::npos);
  object[at + 20] = 2;
  ASSERT_OK(WriteFileAtomically(dir_ / "abi2.so", object));
  ASSERT_OK(WriteFileAtomically(dir_ / "text.so", "hello"));
  for (const auto& [path, text] :
       {std::pair(std::string(dir_ / "abi2.so"),
                  StrCat("plugin \"noop\" is built for ABI 2.", EDIT_ABI_MINOR, ", this edit-worker has ",
                         EDIT_ABI_MAJOR, ".", EDIT_ABI_MINOR)),
        std::pair(std::string(dir_ / "text.so"), std::string("not a shared object")),
        std::pair(std::string("/usr/lib/x86_64-linux-gnu/libprotobuf.so.32"), std::string("not a plugin of editd")),
        std::pair(std::string(dir_ / "none.so"), std::string("No such file"))}) {
    WorkerProcess worker;
    v1::ToWorker message;
    message.mutable_describe()->set_plugin_path(path);
    worker.Send(message);
    const auto reply = worker.Next();
    ASSERT_TRUE(reply.has_value());
    EXPECT_THAT(reply->describe().error().message(), HasSubstr(text));
  }
}

TEST_F(WorkerTest, NonsenseEndsTheWorker) {
  WorkerProcess worker;
  ASSERT_OK(worker.socket().Send("\xff\xff\xff"));
  EXPECT_EQ(worker.Wait(), kExitProtocol);
}

}  // namespace
}  // namespace editd::host
