// The client against a daemon of its own: connection, transfer, submission, watching, completion.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "client/commands/commands.h"
#include "client/completion.h"
#include "client/fetch.h"
#include "client/session.h"
#include "client/spec_paths.h"
#include "client/submission.h"
#include "client/tensor_diff.h"
#include "client/testing/fake_daemon.h"
#include "client/watch.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class Client : public ::testing::Test {
 protected:
  Client() {
    daemon_.plugins["trim"] = TrimPlugin();
    session_.state_dir = daemon_.state_dir();
    session_.quiet = true;
  }
  static std::string Trim(const std::string& keep) {
    return "plugin: \"trim\" params { [type.googleapis.com/editd.plugins.trim.v1.TrimSpec] { keep { " + keep + " } } }";
  }
  absl::StatusOr<v1::SubmitRequest> Prepare(const std::string& content) {
    return PrepareSubmission(&session_, content, "t.pb", files_.path());
  }

  FakeDaemon daemon_;
  TemporaryDirectory files_;
  Session session_;
};

TEST_F(Client, FilesOfASpecAreBound) {
  ASSERT_OK(WriteFileAtomically(files_ / "a.txt", "one"));
  ASSERT_OK(WriteFileAtomically(files_ / "b.txt", "two"));
  ASSERT_OK_AND_ASSIGN(const v1::SubmitRequest request,
                       Prepare(Trim("corpus { path: \"a.txt\" } corpus { path: \"b.txt\" } list { path: \"a.txt\" }")));
  ASSERT_EQ(request.files_size(), 2);  // Each path once.
  EXPECT_EQ(request.files(0).path(), "a.txt");
  EXPECT_EQ(request.files(0).entries(0).name(), "");
  EXPECT_EQ(request.files(0).entries(0).asset(), "asset-1");
  EXPECT_EQ(request.files(0).entries(0).size(), 3u);
  EXPECT_THAT(daemon_.put, ElementsAre("one", "two"));
}

TEST_F(Client, AllMissingFilesAreToldAtOnceAndNothingIsSent) {
  ASSERT_OK(WriteFileAtomically(files_ / "a.txt", "one"));
  std::filesystem::create_directory(files_ / "folder");
  ::mkfifo((files_ / "fifo").c_str(), 0600);
  const auto request =
      Prepare(Trim("corpus { path: \"a.txt\" } corpus { path: \"x.txt\" } corpus { path: \"folder\" } "
                   "list { path: \"fifo\" }"));
  ASSERT_THAT(request, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("params.keep.corpus[1].path: \"")));
  const std::string said(request.status().message());
  EXPECT_THAT(said, AllOf(HasSubstr("x.txt\" can't be opened: No such file"), HasSubstr("params.keep.corpus[2].path: "),
                          HasSubstr("is a folder; a file is wanted"), HasSubstr("params.keep.list[0].path: "),
                          HasSubstr("is no regular file")));
  EXPECT_THAT(daemon_.put, IsEmpty());
}

TEST_F(Client, OfAFolderTheRegularFilesGo) {
  std::filesystem::create_directories(files_ / "model/below");
  ASSERT_OK(WriteFileAtomically(files_ / "model/config.json", "{}"));
  ASSERT_OK(WriteFileAtomically(files_ / "blob", "weights"));
  std::filesystem::create_symlink("../blob", files_ / "model/model.safetensors");
  std::filesystem::create_symlink("nowhere", files_ / "model/dangling");
  const PathUse use = {"params.source", "model", v1::PATH_KIND_FILE_OR_DIRECTORY};
  ASSERT_OK_AND_ASSIGN(Transfer * transfer, session_.ConnectTransfer());
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::FileBinding> bindings,
                       PutFiles({use}, files_.path(), transfer, [](const std::string&, uint64_t) {}));
  ASSERT_EQ(bindings.size(), 1u);
  ASSERT_EQ(bindings[0].entries_size(), 2);
  EXPECT_EQ(bindings[0].entries(0).name(), "config.json");
  EXPECT_EQ(bindings[0].entries(1).name(), "model.safetensors");
  EXPECT_THAT(daemon_.put, ElementsAre("{}", "weights"));
}

TEST_F(Client, PluginThatIsNotThere) {
  const auto request = Prepare("plugin: \"trimm\"");
  EXPECT_THAT(request, StatusIs(absl::StatusCode::kNotFound, AllOf(HasSubstr("t.pb"), HasSubstr("trimm"))));
  EXPECT_EQ(NextOf(request.status()), "editctl plugins");
}

TEST_F(Client, NoDaemonSaysHowToStartOne) {
  session_.state_dir = files_.path();
  EXPECT_THAT(session_.Connect(), StatusIs(absl::StatusCode::kUnavailable,
                                           AllOf(HasSubstr("no daemon at " + files_.path() + "/editd.sock"),
                                                 HasSubstr("start it with: editctl"), HasSubstr("daemon start"))));
  session_.state_dir = files_.path() + std::string(200, 'x');
  EXPECT_THAT(session_.Connect(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("shorter --state-dir")));
}

class Watching : public Client {
 protected:
  Watching() {
    for (uint64_t seq = 1; seq <= 10; ++seq) {
      v1::Event event;
      event.set_job(5);
      event.set_seq(seq);
      daemon_.events.push_back(event);
    }
    daemon_.jobs[5].set_id(5);
    daemon_.jobs[5].set_state(v1::JOB_STATE_SUCCEEDED);
    options_.socket = daemon_.socket();
    options_.job = 5;
    options_.on_event = [this](const v1::Event& event) { seen_.push_back(event.seq()); };
    options_.on_tick = [] {};
    options_.on_trouble = [this](const std::string& text) { troubles_.push_back(text); };
  }

  WatchOptions options_;
  std::vector<uint64_t> seen_;
  std::vector<std::string> troubles_;
};

TEST_F(Watching, EachEventComesOnceOverALostConnection) {
  daemon_.break_after = 4;
  ASSERT_OK_AND_ASSIGN(const v1::Job job, WatchJob(options_));
  EXPECT_EQ(job.state(), v1::JOB_STATE_SUCCEEDED);
  EXPECT_THAT(seen_, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  EXPECT_THAT(daemon_.watched_from, ElementsAre(1, 5));
  EXPECT_EQ(troubles_.size(), 2u);  // Lost, and back.
}

TEST_F(Watching, GoesOnWhenTheDaemonIsBack) {
  daemon_.break_after = 2;
  std::thread restart;
  options_.on_trouble = [&](const std::string&) {
    if (restart.joinable()) return;
    daemon_.Stop();
    restart = std::thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
      daemon_.Start();
    });
  };
  EXPECT_OK(WatchJob(options_));
  restart.join();
  EXPECT_THAT(seen_, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
}

TEST_F(Watching, GivesUpWhenTheDaemonIsGone) {
  daemon_.break_after = 2;
  options_.gone_seconds = 0.3;
  options_.on_trouble = [&](const std::string&) { daemon_.Stop(); };
  EXPECT_THAT(WatchJob(options_), StatusIs(absl::StatusCode::kUnavailable,
                                           AllOf(HasSubstr("the daemon is gone: no daemon at " + daemon_.socket()),
                                                 HasSubstr("none came back within 0.30 s; job 5 is stored"))));
}

TEST_F(Watching, GivesUpWhenTheDaemonListensButDoesNotAnswer) {
  daemon_.break_after = 2;
  options_.give_up_seconds = 0.3;
  options_.from_seq = 9;  // Each watch gets two events and breaks.
  daemon_.jobs[5].set_state(v1::JOB_STATE_RUNNING);
  EXPECT_THAT(WatchJob(options_),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("it did not come back within 0.30 s"), HasSubstr("job 5 is stored"))));
}

TEST_F(Watching, ADaemonThatSaysWhyItEndedIsNotWaitedFor) {
  daemon_.break_after = 2;
  daemon_.break_with =
      absl::AbortedError("the daemon ended, because nothing can be stored any more: Input/output error");
  EXPECT_THAT(WatchJob(options_), StatusIs(absl::StatusCode::kAborted, HasSubstr("Input/output error")));
  EXPECT_THAT(troubles_, IsEmpty());
}

TEST_F(Watching, ACallThatTheDaemonCancelsIsNoInterrupt) {
  daemon_.break_after = 2;
  daemon_.break_with = absl::CancelledError("CANCELLED");
  EXPECT_OK(WatchJob(options_));
  EXPECT_THAT(seen_, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
}

TEST_F(Watching, StopsWhenAsked) {
  daemon_.jobs[5].set_state(v1::JOB_STATE_RUNNING);  // The stream ends, the job does not: it would wait for ever.
  std::atomic<bool> stop = false;
  options_.stop = &stop;
  options_.on_trouble = [&](const std::string&) { stop = true; };
  EXPECT_THAT(WatchJob(options_), StatusIs(absl::StatusCode::kCancelled, testing::_));
}

TEST_F(Watching, AJobThatIsNotThere) {
  options_.job = 6;
  EXPECT_THAT(WatchJob(options_), StatusIs(absl::StatusCode::kNotFound, HasSubstr("6")));
}

TEST_F(Client, ExportedFilesAreFetchedWhole) {
  daemon_.contents["a1"] = std::string(3'000'000, 'w');
  daemon_.contents["a2"] = "";
  v1::Job job;
  for (const auto& [name, id] : {std::pair{"model.safetensors", "a1"}, std::pair{"empty.txt", "a2"}}) {
    v1::FileEntry* const file = job.add_exported();
    file->set_name(name);
    file->set_asset(id);
    file->set_size(daemon_.contents[id].size());
  }
  ASSERT_OK_AND_ASSIGN(Transfer * transfer, session_.ConnectTransfer());
  ASSERT_OK_AND_ASSIGN(const uint64_t bytes, FetchFiles(job, files_ / "out/deep", transfer));
  EXPECT_EQ(bytes, 3'000'000u);
  ASSERT_OK_AND_ASSIGN(const std::string content, ReadWholeFile(files_ / "out/deep/model.safetensors"));
  EXPECT_EQ(content, daemon_.contents["a1"]);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(files_ / "out/deep"), {}), 2);

  job.mutable_exported(0)->set_name("../escape");
  EXPECT_THAT(FetchFiles(job, files_ / "out", transfer), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("../escape")));
  job.mutable_exported(0)->set_name("short");
  job.mutable_exported(0)->set_size(5);
  EXPECT_THAT(FetchFiles(job, files_ / "out", transfer), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("short")));
  EXPECT_FALSE(std::filesystem::exists(files_ / "out/short"));
}

TEST_F(Client, NormsComeFromPacks) {
  const float a[] = {1, 2, 3, 4};
  const float b[] = {1, 2, 3, 7};
  daemon_.contents["pack-a"] = "head" + std::string(reinterpret_cast<const char*>(a), sizeof(a));
  daemon_.contents["pack-b"] = std::string(reinterpret_cast<const char*>(b), sizeof(b));
  const auto version = [](const std::string& pack, uint64_t offset, const std::string& id) {
    v1::Version version;
    v1::Tensor* const tensor = version.add_tensors();
    tensor->set_name("w");
    tensor->set_id(id);
    tensor->set_dtype("F32");
    tensor->add_shape(4);
    tensor->set_pack(pack);
    tensor->set_offset(offset);
    tensor->set_size(16);
    return version;
  };
  const v1::Version from = version("pack-a", 4, "1");
  v1::Version to = version("pack-b", 0, "2");
  TensorDiff diff = CompareTensors(from, to);
  ASSERT_OK_AND_ASSIGN(Transfer * transfer, session_.ConnectTransfer());
  ASSERT_OK(ComputeNorms(transfer, &diff));
  EXPECT_EQ(diff.changes[0].norms->difference, 3);
  EXPECT_EQ(diff.changes[0].norms->changed, 1u);

  to.mutable_tensors(0)->set_offset(8);  // Past the end of the pack.
  diff = CompareTensors(from, to);
  EXPECT_THAT(ComputeNorms(transfer, &diff), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("w")));
  to.mutable_tensors(0)->set_shape(0, 5);  // More than the bytes that it has.
  to.mutable_tensors(0)->set_id("3");
  const v1::Version other = version("pack-b", 0, "2");
  TensorDiff lying = CompareTensors(to, other);
  lying.changes[0].kind = TensorChange::Kind::kChanged;
  EXPECT_THAT(ComputeNorms(transfer, &lying), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("w")));
}

class Completion : public Client {
 protected:
  Completion() : app_("", "editctl") { AddAllCommands(&app_, &session_); }
  std::vector<std::string> Of(const std::vector<std::string>& words) {
    return Complete(app_, words, [](const std::string& kind) -> std::vector<std::string> {
      if (kind == "REF") return {"smol", "smol@good", "other"};
      if (kind == "JOB") return {"12", "13"};
      if (kind == "PLUGIN") return {"trim", "import"};
      return {};
    });
  }
  CLI::App app_;
};

TEST_F(Completion, CommandsOptionsAndNames) {
  EXPECT_THAT(Of({"su"}), ElementsAre("submit"));
  EXPECT_THAT(Of({""}), AllOf(Contains("queue"), Contains("daemon"), Not(Contains("__complete"))));
  EXPECT_THAT(Of({"daemon", "st"}), ElementsAre("start", "status", "stop"));
  EXPECT_THAT(Of({"submit", "--f"}), ElementsAre("--force"));
  EXPECT_THAT(Of({"show", "sm"}), ElementsAre("smol", "smol@good"));
  EXPECT_THAT(Of({"diff", "smol", "o"}), ElementsAre("other"));
  EXPECT_THAT(Of({"--json", "--state-dir", "/x", "watch", ""}), ElementsAre("12", "13"));
  EXPECT_THAT(Of({"init", "t"}), ElementsAre("trim"));
  EXPECT_THAT(Of({"submit", ""}), ElementsAre(":files"));
  EXPECT_THAT(Of({"export", "smol", ""}), ElementsAre(":dirs"));
  EXPECT_THAT(Of({"import", "x", "--store-as", "b"}), ElementsAre("bf16"));
  EXPECT_THAT(Of({"show", "smol", ""}), IsEmpty());  // One argument is all it takes.
}

TEST_F(Completion, EveryCommandHasAnExample) {
  for (const CLI::App* command : std::as_const(app_).get_subcommands(std::function<bool(const CLI::App*)>())) {
    EXPECT_THAT(command->help(), HasSubstr("Example:")) << command->get_name();
    EXPECT_NE(command->get_description(), "") << command->get_name();
  }
}

TEST(Paths, AreTheDaemons) {
  std::map<std::string, std::string> environment = {{"HOME", "/home/u"}};
  const auto get = [&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
  ASSERT_OK_AND_ASSIGN(Paths paths, FindPaths("", "", get));
  EXPECT_EQ(paths.socket, "/home/u/.local/share/editd/editd.sock");
  environment["XDG_RUNTIME_DIR"] = "/run/user/7";
  environment["XDG_DATA_HOME"] = "/data";
  ASSERT_OK_AND_ASSIGN(paths, FindPaths("", "", get));
  EXPECT_EQ(paths.state_dir, "/data/editd");
  EXPECT_EQ(paths.socket, "/run/user/7/editd/editd.sock");
  EXPECT_EQ(paths.transfer_socket, "/run/user/7/editd/transfer.sock");
  environment["EDITD_STATE_DIR"] = "/state";
  ASSERT_OK_AND_ASSIGN(paths, FindPaths("", "", get));
  EXPECT_EQ(paths.socket, "/state/editd.sock");
  ASSERT_OK_AND_ASSIGN(paths, FindPaths("/mine", "/elsewhere/s", get));
  EXPECT_EQ(paths.state_dir, "/mine");
  EXPECT_EQ(paths.transfer_socket, "/elsewhere/transfer.sock");
  environment.clear();
  EXPECT_THAT(FindPaths("", "", get), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--state-dir")));
}

}  // namespace
}  // namespace editd::client
