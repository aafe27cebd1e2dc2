#include "storage/store.h"

#include <sys/wait.h>
#include <unistd.h>

#include "storage/testing.h"

namespace editd::storage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const MoveCause kByTest = {"tester", 0, "test"};

// --- publishing and reading back
// --------------------------------------------------------------------------------------

TEST_F(StoreTest, AVersionReadsBackAfterReopening) {
  const Id id = Publish({{{"a", "tensor a"}, {"b", std::string(3 << 20, 'b')}}, {{"config.json", "{}"}}, {}}, "smol");
  Reopen();
  ASSERT_OK_AND_ASSIGN(const Id resolved, store().Resolve("smol"));
  EXPECT_EQ(resolved, id);
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(id, true));
  EXPECT_EQ(version.id(), id.Hex());
  EXPECT_EQ(version.tensor_count(), 2u);
  EXPECT_EQ(version.parameter_count(), 8u + (3 << 20));
  EXPECT_EQ(version.logical_bytes(), version.parameter_count());
  EXPECT_EQ(version.new_bytes(), version.logical_bytes());
  EXPECT_THAT(version.refs(), ElementsAre("smol"));
  for (const editd::v1::Tensor& tensor : version.tensors()) {
    ASSERT_OK_AND_ASSIGN(const UniqueFd pack, store().OpenPack(*Id::FromHex(tensor.pack())));
    ASSERT_OK_AND_ASSIGN(const MappedFile bytes, MappedFile::Map(pack.get(), tensor.offset(), tensor.size(), "pack"));
    EXPECT_EQ(bytes.view()[0], tensor.name() == "a" ? 't' : 'b');
    EXPECT_EQ(tensor.since(), id.Hex());
  }
  ASSERT_THAT(version.files(), SizeIs(1));
  ASSERT_OK_AND_ASSIGN(const UniqueFd file, store().OpenAsset(*Id::FromHex(version.files(0).asset())));
  ASSERT_OK_AND_ASSIGN(const MappedFile config, MappedFile::Map(file.get(), 0, 2, "config.json"));
  EXPECT_EQ(config.view(), "{}");
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(StoreTest, PublishingAgainChangesNothing) {
  const Made made = {{{"a", "tensor"}}, {{"config.json", "{}"}}, {}};
  const Id id = Publish(made, "smol");
  PublishRequest again = Stage(store_.get(), made, 2);
  again.ref = "smol";
  ASSERT_OK_AND_ASSIGN(const Published published, store().Publish(std::move(again)));
  EXPECT_EQ(published.version, id);
  EXPECT_TRUE(published.existed);
  EXPECT_FALSE(published.ref_moved);
  EXPECT_OK(published.ref_conflict);
  EXPECT_EQ(published.bytes_written, 0u);
  EXPECT_EQ(store().Stats().versions, 1u);
  EXPECT_EQ(store().FindRef("smol")->generation(), 1u);
  EXPECT_THAT(Files("packs"), SizeIs(1));
}

TEST_F(StoreTest, APackOfKnownTensorsIsDropped) {
  const Id base = Publish({{{"a", "tensor a"}, {"b", "tensor b"}}, {}, {}});
  const Id child = Publish({{{"renamed", "tensor b"}}, {}, {base}, "drop a"});
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(child, true));
  EXPECT_EQ(version.new_bytes(), 0u);
  EXPECT_THAT(Files("packs"), SizeIs(1));
  EXPECT_EQ(store().Stats().packs, 1u);
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(StoreTest, SinceNamesTheVersionThatFirstHadTheBytes) {
  const Id base = Publish({{{"kept", "1"}, {"changed", "2"}}, {}, {}});
  const Id middle = Publish({{{"kept", "1"}, {"changed", "3"}}, {}, {base}, "middle"});
  const Id last = Publish({{{"kept", "1"}, {"changed", "3"}, {"new", "1"}}, {}, {middle}, "last"});
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(last, true));
  EXPECT_EQ(version.tensors(0).since(), base.Hex());
  EXPECT_EQ(version.tensors(1).since(), middle.Hex());
  EXPECT_EQ(version.tensors(2).since(), last.Hex());
}

TEST_F(StoreTest, ReusedTensorsNeedNoPack) {
  const Id base = Publish({{{"a", "tensor a"}, {"b", "tensor b"}}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version parent, store().GetVersion(base, true));
  PublishRequest request = Stage(store_.get(), {{}, {}, {base}, "drop b"});
  editd::v1::Tensor* tensor = request.version.add_tensors();
  *tensor = parent.tensors(0);
  tensor->clear_pack();
  ASSERT_OK_AND_ASSIGN(const Published published, store().Publish(std::move(request)));
  EXPECT_EQ(published.bytes_written, 0u);
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(StoreTest, TheJobAndItsEventsAreInTheSameBatch) {
  PublishRequest request = Stage(store_.get(), {{{"a", "1"}}, {}, {}, "r", 7});
  request.events.emplace_back().set_job(7);
  request.events.back().set_seq(1);
  ASSERT_OK_AND_ASSIGN(const Published published, store().Publish(std::move(request)));
  ASSERT_OK_AND_ASSIGN(const editd::v1::Job job, store().GetJob(7));
  EXPECT_EQ(job.output_version(), published.version.Hex());
  EXPECT_EQ(store().LastEventSeq(7), 1u);
  EXPECT_EQ(store().NextJobId(), 8u);
}

TEST_F(StoreTest, ExportedFilesAreNoPartOfAVersion) {
  PublishRequest request = Stage(store_.get(), {{}, {{"model.safetensors", "bytes"}}, {}});
  request.makes_version = false;
  request.files[0].exported = true;
  ASSERT_OK_AND_ASSIGN(const Published published, store().Publish(std::move(request)));
  EXPECT_TRUE(published.version.empty());
  ASSERT_THAT(published.exported, SizeIs(1));
  EXPECT_EQ(published.exported[0].name(), "model.safetensors");
  EXPECT_TRUE(store().HasAsset(*Id::FromHex(published.exported[0].asset())));
  EXPECT_EQ(store().Stats().versions, 0u);
}

TEST_F(StoreTest, ARefThatWasMovedMeanwhileStaysAndTheVersionIsThere) {
  const Id first = Publish({{{"a", "1"}}, {}, {}}, "smol");
  PublishRequest request = Stage(store_.get(), {{{"a", "2"}}, {}, {}, "other"});
  request.ref = "smol";  // Expected not to exist.
  ASSERT_OK_AND_ASSIGN(const Published published, store().Publish(std::move(request)));
  EXPECT_THAT(published.ref_conflict, StatusIs(absl::StatusCode::kAborted, HasSubstr(first.Hex())));
  EXPECT_FALSE(published.ref_moved);
  EXPECT_OK(store().GetVersion(published.version, true));
  EXPECT_EQ(*store().Resolve("smol"), first);
}

// --- what Publish refuses
// ---------------------------------------------------------------------------------------------

class RefusedPublishTest : public StoreTest {
 protected:
  // Publishes and expects an error, and that nothing of it can be seen.
  void ExpectRefused(PublishRequest request, absl::StatusCode code, const std::string& text) {
    request.ref = "smol";
    EXPECT_THAT(store().Publish(std::move(request)), StatusIs(code, HasSubstr(text)));
    EXPECT_THAT(store().Resolve("smol"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("smol")));
    EXPECT_EQ(store().Stats().versions, 0u);
    EXPECT_THAT(Files("packs"), IsEmpty());
    EXPECT_FALSE(store().GetJob(1).ok());
    EXPECT_THAT(Verify(), IsEmpty());
  }
  const Made made_ = {{{"a", "tensor a"}, {"b", "tensor b"}}, {}, {}};
};

TEST_F(RefusedPublishTest, APackThatIsCutOff) {
  PublishRequest request = Stage(store_.get(), made_);
  std::filesystem::resize_file(request.pack_path, std::filesystem::file_size(request.pack_path) - 1);
  ExpectRefused(std::move(request), absl::StatusCode::kDataLoss, "the header announces");
}

TEST_F(RefusedPublishTest, AnotherPackThanReported) {
  PublishRequest request = Stage(store_.get(), made_);
  request.pack = Sha256::Of("other");
  ExpectRefused(std::move(request), absl::StatusCode::kDataLoss, "reported was");
}

TEST_F(RefusedPublishTest, ATensorElsewhereThanReported) {
  PublishRequest request = Stage(store_.get(), made_);
  request.version.mutable_tensors(1)->set_offset(request.version.tensors(1).offset() + 64);
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "tensor \"b\": reported at");
}

TEST_F(RefusedPublishTest, ATensorOfAnotherShapeThanItsId) {
  PublishRequest request = Stage(store_.get(), made_);
  request.version.mutable_tensors(1)->set_shape(0, 4);
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "tensor \"b\": its type or shape");
}

TEST_F(RefusedPublishTest, ATensorThatIsNowhere) {
  PublishRequest request = Stage(store_.get(), made_);
  editd::v1::Tensor* tensor = request.version.add_tensors();
  tensor->set_name("c");
  tensor->set_dtype("U8");
  tensor->set_id(Sha256::Of("c").Hex());
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "tensor \"c\": is neither");
}

TEST_F(RefusedPublishTest, APackWithMoreThanTheVersion) {
  PublishRequest request = Stage(store_.get(), made_);
  request.version.mutable_tensors()->RemoveLast();
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "does not name");
}

TEST_F(RefusedPublishTest, ANameThatStandsTwice) {
  PublishRequest request = Stage(store_.get(), {{{"a", "1"}, {"a", "2"}}, {}, {}});
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "tensor \"a\" stands twice");
}

TEST_F(RefusedPublishTest, AParentThatIsNotThere) {
  PublishRequest request = Stage(store_.get(), made_);
  request.version.add_parents()->set_version(Sha256::Of("p").Hex());
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "to be a parent");
}

TEST_F(RefusedPublishTest, AFileOutsideTheFolder) {
  PublishRequest request = Stage(store_.get(), made_);
  request.files.push_back({"../config.json", "/etc/passwd", {}, false});
  ExpectRefused(std::move(request), absl::StatusCode::kInvalidArgument, "is no name for a file");
}

TEST_F(RefusedPublishTest, ALinkInsteadOfAFile) {
  PublishRequest request = Stage(store_.get(), made_);
  const std::string link = path() + "/staging/1.1/link";
  std::filesystem::create_symlink("/etc/passwd", link);
  request.files.push_back({"config.json", link, {}, false});
  EXPECT_FALSE(store().Publish(std::move(request)).ok());
}

TEST_F(RefusedPublishTest, ForcedRunThatGivesAnotherResult) {
  PublishRequest request = Stage(store_.get(), made_);
  request.must_equal = Sha256::Of("earlier");
  ExpectRefused(std::move(request), absl::StatusCode::kFailedPrecondition, "not deterministic");
}

// --- names
// ------------------------------------------------------------------------------------------------------------

class NamesTest : public StoreTest {
 protected:
  const Id first_ = Publish({{{"a", "1"}}, {}, {}, "1"}, "smol");
  const Id second_ = Publish({{{"a", "2"}}, {}, {first_}, "2"}, "smol");
};

TEST_F(NamesTest, ResolveTakesEachForm) {
  ASSERT_OK(store().MoveRef("smol@nightly", Id{}, first_, kByTest));
  EXPECT_EQ(*store().Resolve("smol"), second_);
  EXPECT_EQ(*store().Resolve("smol@nightly"), first_);
  EXPECT_EQ(*store().Resolve("smol@v1"), first_);
  EXPECT_EQ(*store().Resolve("smol@v2"), second_);
  EXPECT_EQ(*store().Resolve(first_.Hex()), first_);
  EXPECT_EQ(*store().Resolve(second_.Hex().substr(0, 12)), second_);
}

TEST_F(NamesTest, WhatIsNotThereIsExplained) {
  ASSERT_OK(store().MoveRef("smol-envi", Id{}, first_, kByTest));
  EXPECT_THAT(store().Resolve("smol-env"),
              StatusIs(absl::StatusCode::kNotFound, "no version named \"smol-env\"; did you mean \"smol-envi\"?"));
  EXPECT_THAT(store().Resolve("smol@v7"),
              StatusIs(absl::StatusCode::kNotFound, "\"smol\" has no move 7; its last is 2"));
  EXPECT_THAT(store().Resolve("smool@v1"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no version named \"smool@v1\"")));
  EXPECT_THAT(store().Resolve(""), StatusIs(absl::StatusCode::kNotFound, HasSubstr("no version named")));
  EXPECT_THAT(store().Resolve("smol@v99999999999999999999999"),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no version")));
}

TEST_F(NamesTest, AnAmbiguousPrefixListsItsCandidates) {
  // Many versions, so that two share four digits.
  std::vector<Id> ids;
  std::map<std::string, Id> by_prefix;
  for (int i = 0; i < 2000; ++i) {
    PublishRequest request;
    request.makes_version = true;
    request.version.mutable_recipe()->set_id(Sha256::Of(StrCat("r", i)).Hex());
    ASSERT_OK_AND_ASSIGN(const Published published, store().Publish(std::move(request)));
    const auto [other, fresh] = by_prefix.emplace(published.version.Hex().substr(0, 4), published.version);
    if (fresh) continue;
    EXPECT_THAT(store().Resolve(other->first),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr("begins more than one version"), HasSubstr(other->second.Hex().substr(0, 16)),
                               HasSubstr(published.version.Hex().substr(0, 16)))));
    return;
  }
  FAIL() << "no two of 2000 ids begin with the same four digits";
}

TEST_F(NamesTest, MoveLosesToAnEarlierMove) {
  EXPECT_THAT(store().MoveRef("smol", first_, first_, kByTest),
              StatusIs(absl::StatusCode::kAborted, AllOf(HasSubstr(first_.Hex()), HasSubstr(second_.Hex()))));
  EXPECT_EQ(*store().Resolve("smol"), second_);
  EXPECT_THAT(store().MoveRef("smol", Id{}, first_, kByTest),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("not at nothing")));
}

TEST_F(NamesTest, EachMoveIsInTheLog) {
  now_ += absl::Seconds(1);
  ASSERT_OK(store().MoveRef("smol", second_, first_, {"ana", 0, "undo"}));
  now_ += absl::Seconds(1);
  ASSERT_OK(store().MoveRef("smol", std::nullopt, Id{}, kByTest));
  Reopen();
  const std::vector<editd::v1::RefMove> log = store().Reflog("smol");
  ASSERT_THAT(log, SizeIs(4));
  EXPECT_EQ(log[0].to(), "");
  EXPECT_EQ(log[1].from(), second_.Hex());
  EXPECT_EQ(log[1].to(), first_.Hex());
  EXPECT_EQ(log[1].user(), "ana");
  EXPECT_EQ(log[1].message(), "undo");
  EXPECT_EQ(log[1].generation(), 3u);
  EXPECT_THAT(store().Reflog(""), SizeIs(4));
}

TEST_F(NamesTest, ADeletedRefKeepsCounting) {
  ASSERT_OK(store().MoveRef("smol", std::nullopt, Id{}, kByTest));
  EXPECT_THAT(store().ListRefs(), IsEmpty());
  EXPECT_FALSE(store().Resolve("smol").ok());
  Reopen();
  ASSERT_OK_AND_ASSIGN(const editd::v1::Ref ref, store().MoveRef("smol", Id{}, first_, kByTest));
  EXPECT_EQ(ref.generation(), 4u);
  EXPECT_EQ(*store().Resolve("smol@v1"), first_);
  EXPECT_THAT(store().MoveRef("other", std::nullopt, Id{}, kByTest),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("other")));
}

TEST_F(NamesTest, NamesAreChecked) {
  for (const char* good : {"smol", "a/b-c_d.e", "smol@nightly", "0", "smol@v"}) EXPECT_OK(Store::CheckRefName(good));
  for (const char* bad : {"", "-x", ".x", "a b", "a@b@c", "a@", "@a", "a@v1", "\xc3\xa4"}) {
    EXPECT_THAT(Store::CheckRefName(bad),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is no name for a ref")))
        << bad;
  }
  EXPECT_FALSE(Store::CheckRefName(std::string(129, 'a')).ok());
  EXPECT_THAT(store().MoveRef("a b", Id{}, first_, kByTest),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a b")));
  EXPECT_THAT(store().MoveRef("x", Id{}, Sha256::Of("x"), kByTest),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no version")));
}

// --- recipes, jobs, plugins
// -------------------------------------------------------------------------------------------

TEST_F(StoreTest, ARecipeFindsItsVersion) {
  const Id id = Publish({{{"a", "1"}}, {}, {}, "the recipe"});
  Reopen();
  EXPECT_EQ(store().FindRecipe(Sha256::Of("the recipe")), id);
  EXPECT_FALSE(store().FindRecipe(Sha256::Of("another")).has_value());
}

TEST_F(StoreTest, JobsSurviveAReopening) {
  editd::v1::Job job;
  job.set_id(store().NextJobId());
  job.set_request_id("abc");
  std::vector<editd::v1::Event> events(3);
  for (size_t i = 0; i < events.size(); ++i) {
    events[i].set_job(job.id());
    events[i].set_seq(i + 1);
  }
  ASSERT_OK(store().PutJob(job, events));
  events[2].set_seq(300);
  ASSERT_OK(store().AppendEvents(std::span(events).subspan(2)));
  job.set_id(job.id() + 1);
  job.clear_request_id();
  ASSERT_OK(store().PutJob(job));
  Reopen();
  ASSERT_OK_AND_ASSIGN(const std::vector<editd::v1::Job> jobs, store().LoadJobs());
  EXPECT_THAT(jobs, SizeIs(2));
  EXPECT_EQ(store().NextJobId(), 3u);
  EXPECT_EQ(store().FindRequest("abc"), 1u);
  EXPECT_FALSE(store().FindRequest("abcd").has_value());
  EXPECT_EQ(store().LastEventSeq(1), 300u);
  EXPECT_EQ(store().LastEventSeq(2), 0u);
  ASSERT_OK_AND_ASSIGN(const std::vector<editd::v1::Event> some, store().ReadEvents(1, 2, 2));
  ASSERT_THAT(some, SizeIs(2));
  EXPECT_EQ(some[0].seq(), 2u);
  EXPECT_EQ(some[1].seq(), 3u);
  ASSERT_OK_AND_ASSIGN(const std::vector<editd::v1::Event> rest, store().ReadEvents(1, 4, 100));
  ASSERT_THAT(rest, SizeIs(1));
  EXPECT_EQ(rest[0].seq(), 300u);
  EXPECT_THAT(store().GetJob(9), StatusIs(absl::StatusCode::kNotFound, "no job 9; the last is 2"));
}

TEST_F(StoreTest, PluginsAreRemembered) {
  editd::v1::Plugin plugin;
  plugin.set_name("trim");
  plugin.set_hash(Sha256::Of("trim.so").Hex());
  ASSERT_OK(store().PutPlugin(plugin));
  EXPECT_EQ(store().FindPlugin(Sha256::Of("trim.so"))->name(), "trim");
  EXPECT_FALSE(store().FindPlugin(Sha256::Of("other.so")).has_value());
}

// --- opening
// ----------------------------------------------------------------------------------------------------------

TEST_F(StoreTest, TwoDaemonsCannotShareADirectory) {
  EXPECT_THAT(Store::Open(path()), StatusIs(absl::StatusCode::kResourceExhausted,
                                            HasSubstr(StrCat("is in use by another daemon, pid ", ::getpid()))));
}

TEST_F(StoreTest, AnotherFormatIsRefused) {
  store_.reset();
  ASSERT_OK(WriteFileAtomically(path() + "/format", "editd store 7\n"));
  EXPECT_THAT(Store::Open(path()), StatusIs(absl::StatusCode::kFailedPrecondition,
                                            AllOf(HasSubstr("incompatible store format"), HasSubstr("editd store 7"))));
}

TEST_F(StoreTest, AMissingCatalogueIsNotTakenForANewStore) {
  Publish({{{"a", "1"}}, {}, {}}, "smol");
  store_.reset();
  std::filesystem::remove_all(path() + "/db");
  EXPECT_THAT(Store::Open(path()), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("is missing")));
  EXPECT_THAT(Files("packs"), SizeIs(1));
}

TEST_F(StoreTest, OpeningSweepsWhatNoRecordNames) {
  Publish({{{"a", "1"}}, {{"f", "x"}}, {}}, "smol");
  const std::string old_orphan = path() + "/packs/ab/" + std::string(64, 'a') + ".safetensors";
  const std::string young_orphan = path() + "/assets/cd/" + std::string(64, 'c');
  std::filesystem::create_directories(path() + "/packs/ab");
  std::filesystem::create_directories(path() + "/assets/cd");
  std::filesystem::create_directories(path() + "/staging/9.1/deep");
  ASSERT_OK(WriteFileAtomically(old_orphan, "x"));
  ASSERT_OK(WriteFileAtomically(young_orphan, "x"));
  std::filesystem::last_write_time(old_orphan, std::filesystem::file_time_type::clock::now() - std::chrono::hours(2));
  Reopen();
  EXPECT_FALSE(std::filesystem::exists(old_orphan));
  EXPECT_TRUE(std::filesystem::exists(young_orphan));
  EXPECT_TRUE(std::filesystem::is_empty(path() + "/staging"));
  EXPECT_OK(store().GetVersion(*store().Resolve("smol"), true));
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(StoreTest, StatsCountFilesAndWhatTheyStandFor) {
  const Id base = Publish({{{"a", std::string(10000, 'a')}}, {{"f", "four"}}, {}});
  Publish({{{"a", std::string(10000, 'a')}, {"b", "b"}}, {{"f", "four"}}, {base}, "2"}, "smol");
  const StoreStats stats = store().Stats();
  EXPECT_EQ(stats.versions, 2u);
  EXPECT_EQ(stats.refs, 1u);
  EXPECT_EQ(stats.packs, 2u);
  EXPECT_EQ(stats.assets, 1u);
  EXPECT_EQ(stats.asset_bytes, 4u);
  EXPECT_EQ(stats.logical_bytes, 20001u);
}

}  // namespace
}  // namespace editd::storage
