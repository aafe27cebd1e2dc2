// What is refused at submit, and in which words.
#include "daemon/submission.h"

#include <fcntl.h>

#include "daemon/testing/harness.h"

namespace editd::daemon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SubmissionTest : public ::testing::Test {
 protected:
  TemporaryDirectory dir_;
  Harness h_{dir_ / "state"};
};

TEST_F(SubmissionTest, AnUnknownPluginNamesTheNearest) {
  EXPECT_THAT(h_.Submit(Harness::Spec("mak", "")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("plugin: there is no plugin \"mak\"; did you mean \"make\"?")));
  EXPECT_THAT(h_.Submit(Harness::Spec("", "")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("plugin: it is not set")));
}

TEST_F(SubmissionTest, ABrokenPluginSaysItsProblem) {
  EXPECT_THAT(h_.Submit(Harness::Spec("broken", "")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("another ABI")));
  bool listed = false;
  for (const v1::Plugin& plugin : h_.registry->List()) listed |= plugin.name() == "broken" && !plugin.problem().empty();
  EXPECT_TRUE(listed);
}

TEST_F(SubmissionTest, APluginThatOthersMayWriteIsRefused) {
  ASSERT_EQ(::chmod((dir_ / "state-plugins/make.so").c_str(), 0666), 0);
  EXPECT_THAT(h_.Submit(Harness::Spec("make", "version 1", "m")),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("may be written by others")));
}

TEST_F(SubmissionTest, AMissingInputNamesItsFieldAndTheNearestRef) {
  h_.Run(Harness::Spec("make", "version 1", "smol-envi"));
  EXPECT_THAT(h_.Submit(Harness::Spec("join", "reuse", "out", "smol-env")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("input[0].model: "), HasSubstr("did you mean \"smol-envi\"?"))));
}

TEST_F(SubmissionTest, FindingsAreToldTogether) {
  v1::JobSpec spec = Harness::Spec("make", "version 1");
  spec.add_input()->set_model("nothing");
  const auto status = h_.Submit(spec).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr("input: plugin \"make\" reads 0 models, the spec names 1\n"),
                                     HasSubstr("output.ref: plugin \"make\" makes a version; give it a name"),
                                     HasSubstr("input[0].model: "))));
}

TEST_F(SubmissionTest, ThePluginsOwnFindingsRefuseTheSpec) {
  EXPECT_THAT(h_.Submit(Harness::Spec("run", "finding params.keep: it keeps nothing")),
              StatusIs(absl::StatusCode::kInvalidArgument, "params.keep: it keeps nothing"));
}

TEST_F(SubmissionTest, ACheckThatCrashesSaysSoAndTheNextOneWorks) {
  EXPECT_THAT(h_.Submit(Harness::Spec("run", "check_exit 7")),
              StatusIs(absl::StatusCode::kInternal,
                       AllOf(HasSubstr("plugin \"run\": its check crashed: "), HasSubstr("exit status 7"),
                             HasSubstr("the daemon goes on"), HasSubstr("the daemon's log"))));
  EXPECT_THAT(h_.Submit(Harness::Spec("run", "check_say out of luck;check_exit 7")).status().message(),
              HasSubstr("it wrote: out of luck"));
  EXPECT_OK(h_.Submit(Harness::Spec("run", "log ok")));
}

TEST_F(SubmissionTest, ACheckThatHangsIsEndedAndTheNextOneWorks) {
  Harness impatient(dir_ / "other", [](Config* config) { config->check_timeout = absl::Milliseconds(300); });
  EXPECT_THAT(impatient.Submit(Harness::Spec("run", "check_hang")),
              StatusIs(absl::StatusCode::kInternal,
                       AllOf(HasSubstr("plugin \"run\": its check gave no answer within 0.3 s and was ended"),
                             HasSubstr("check_timeout"))));
  bool worked = false;  // A slow machine's worker may need more than that to start.
  for (int i = 0; i < 50 && !worked; ++i) worked = impatient.Submit(Harness::Spec("run", "log ok")).ok();
  EXPECT_TRUE(worked);
}

TEST_F(SubmissionTest, AnErrorOfTheCheckHasThePluginsCodeButNeverTheDaemons) {
  const auto code_of = [this](const std::string& code) {
    return h_.Submit(Harness::Spec("run", "check_error " + code)).status().code();
  };
  EXPECT_EQ(code_of("9"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code_of("14"), absl::StatusCode::kUnknown);  // UNAVAILABLE: the daemon is there.
  EXPECT_EQ(code_of("4"), absl::StatusCode::kUnknown);
  EXPECT_EQ(code_of("4711"), absl::StatusCode::kUnknown);
}

TEST_F(SubmissionTest, AnEstimateIsKept) {
  EXPECT_EQ(h_.Submit(Harness::Spec("run", "estimate 12345"))->estimate_memory_bytes(), 12345u);
}

TEST_F(SubmissionTest, APathIsRunAsItsContent) {
  UniqueFd file(::open((dir_ / "vi.txt").c_str(), O_RDWR | O_CREAT, 0600));
  ASSERT_OK(WriteAll(file.get(), "xin chao", "vi.txt"));
  ASSERT_OK_AND_ASSIGN(const storage::Store::Asset asset, h_.store->PutAsset(file.get(), "vi.txt"));
  v1::SubmitRequest request;
  *request.mutable_spec() = Harness::Spec("run", "");
  *request.mutable_spec()->mutable_params() = FakeParams("log ok", "vi.txt");
  v1::FileBinding* binding = request.add_files();
  binding->set_path("vi.txt");
  binding->add_entries()->set_asset(asset.id.Hex());
  const auto job = h_.submission->Submit(request, Peer{});
  ASSERT_OK(job);
  EXPECT_EQ(job->canonical_params().value(), FakeParams("log ok", "asset:" + asset.id.Hex()).value());
  EXPECT_EQ(h_.WaitForState(job->id(), v1::JOB_STATE_SUCCEEDED).files_size(), 1);

  binding->mutable_entries(0)->set_asset(std::string(64, 'b'));
  request.mutable_spec()->set_seed(1);
  EXPECT_THAT(h_.submission->Submit(request, Peer{}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"vi.txt\"")));
}

TEST_F(SubmissionTest, ValidateStoresNothing) {
  v1::ValidateRequest request;
  *request.mutable_spec() = Harness::Spec("run", "finding params: no");
  ASSERT_OK_AND_ASSIGN(const v1::ValidateResponse response, h_.submission->Validate(request, Peer{}));
  EXPECT_THAT(response.findings(), ::testing::ElementsAre("params: no"));
  EXPECT_EQ(h_.store->NextJobId(), 1u);
}

}  // namespace
}  // namespace editd::daemon
