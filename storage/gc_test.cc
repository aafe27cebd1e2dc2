#include <sys/stat.h>

#include "storage/testing.h"

namespace editd::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr absl::Duration kLong = absl::Hours(24 * 30);

class GarbageTest : public StoreTest {
 protected:
  std::vector<GarbageItem> Collect(bool dry_run = false) {
    GarbageOptions options;
    options.dry_run = dry_run;
    absl::StatusOr<std::vector<GarbageItem>> items = store().CollectGarbage(options);
    EXPECT_OK(items);
    return *std::move(items);
  }
  // "version", "pack", ... of each item that goes.
  static std::vector<GarbageKind> Kinds(const std::vector<GarbageItem>& items) {
    std::vector<GarbageKind> kinds;
    for (const GarbageItem& item : items) {
      if (!item.stays) kinds.push_back(item.kind);
    }
    return kinds;
  }
  editd::v1::Job FinishedJob(uint64_t id) {
    editd::v1::Job job;
    job.set_id(id);
    job.set_state(editd::v1::JOB_STATE_SUCCEEDED);
    job.mutable_ended()->set_seconds(absl::ToUnixSeconds(now_));
    return job;
  }
};

TEST_F(GarbageTest, ACheckpointStaysAsLongAsItsJobCanBeTriedAgain) {
  const Id version = Publish({{{"a", "1"}}, {}, {}, "1"}, "smol");
  const auto keep = [&](uint64_t id) {
    ASSERT_OK_AND_ASSIGN(const std::string staging, store().CreateStaging(id, 1));
    ASSERT_OK(WriteFileAtomically(staging + "/checkpoint", "kept"));
    ASSERT_OK(store().KeepCheckpoint(id, 1));
  };
  editd::v1::Job job = FinishedJob(1);
  ASSERT_OK(store().PutJob(job));
  job.set_id(2);
  job.set_state(editd::v1::JOB_STATE_CANCELLED);
  job.add_input_versions(version.Hex());
  ASSERT_OK(store().PutJob(job));
  for (uint64_t id : {1, 2, 3}) keep(id);
  now_ += absl::Hours(2);
  EXPECT_THAT(Kinds(Collect()), ElementsAre(GarbageKind::kCheckpoint, GarbageKind::kCheckpoint));
  EXPECT_OK(store().OpenCheckpoint(2));
  for (uint64_t id : {1, 3}) EXPECT_TRUE(absl::IsNotFound(store().OpenCheckpoint(id).status()));
  now_ += absl::Hours(24 * 7);
  EXPECT_THAT(Kinds(Collect()), ElementsAre(GarbageKind::kCheckpoint));
  EXPECT_TRUE(absl::IsNotFound(store().OpenCheckpoint(2).status()));
}

// Between the look and the sweep the store goes on; what is used then stays, with all that it uses.
TEST_F(GarbageTest, WhatIsUsedWhileACollectionGoesOnStays) {
  const Id tagged = Publish({{{"a", "tagged"}}, {{"config.json", "1"}}, {}, "1"});
  const Id read = Publish({{{"a", "read by a job"}}, {{"config.json", "2"}}, {}, "2"});
  const Id rest = Publish({{{"a", "rest"}, {"b", "shared"}}, {{"config.json", "3"}}, {}, "3"});
  ASSERT_OK_AND_ASSIGN(const Store::Asset named, store().PutAssetBytes("named by a dataset", ""));
  ASSERT_OK_AND_ASSIGN(const Store::Asset unnamed, store().PutAssetBytes("named by nothing", ""));
  ASSERT_OK(WriteFileAtomically(path() + "/packs/orphan", "x"));
  now_ += kLong;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<GarbageCollection> collection, store().StartGarbageCollection({}));
  EXPECT_THAT(store().StartGarbageCollection({}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("collected already")));
  ASSERT_OK(collection->Find(nullptr));
  EXPECT_THAT(collection->Items(), SizeIs(3 + 3 + 5 + 1));  // Versions, packs, assets, the orphan.
  // Meanwhile: a ref, a job, a dataset, and a version that shares a tensor with one that goes.
  ASSERT_OK(store().MoveRef("kept", Id{}, tagged, {}));
  editd::v1::Job job;
  job.set_id(9);
  job.set_state(editd::v1::JOB_STATE_PENDING);
  job.add_input_versions(read.Hex());
  ASSERT_OK(store().PutJob(job));
  editd::v1::Dataset dataset;
  dataset.set_name("named");
  dataset.add_entries()->set_asset(named.id.Hex());
  ASSERT_OK(store().AddDataset(dataset, "anna"));
  const Id sharing = Publish({{{"b", "shared"}}, {{"config.json", "4"}}, {}, "4"}, "sharing");
  for (bool done = false; !done;) {
    ASSERT_OK_AND_ASSIGN(done, collection->Sweep());
  }
  collection->RemoveFiles();
  // The version "rest" and its file go, an asset that nothing names, the orphan; its pack is still used.
  EXPECT_THAT(Kinds(collection->Items()), UnorderedElementsAre(GarbageKind::kVersion, GarbageKind::kAsset,
                                                               GarbageKind::kAsset, GarbageKind::kOrphan));
  collection.reset();
  for (const Id& id : {tagged, read, sharing}) EXPECT_OK(store().GetVersion(id, true));
  EXPECT_TRUE(store().GetVersion(rest, false)->tombstone());
  EXPECT_TRUE(store().HasAsset(named.id));
  EXPECT_FALSE(store().HasAsset(unnamed.id));
  EXPECT_THAT(Verify(), IsEmpty());
  EXPECT_THAT(Files("incoming"), IsEmpty());
}

// A version that is used again meanwhile can still be made again, and what was measured of it is still there.
TEST_F(GarbageTest, WhatJobsKeepForAVersionThatIsUsedMeanwhileStays) {
  ASSERT_OK_AND_ASSIGN(const Store::Asset corpus, store().PutAssetBytes("the corpus it was made from", ""));
  PublishRequest request = Stage(&store(), {{{"a", "1"}}, {}, {}, "1"});
  request.job.add_files()->add_entries()->set_asset(corpus.id.Hex());
  ASSERT_OK_AND_ASSIGN(const Published made, store().Publish(std::move(request)));
  ASSERT_OK_AND_ASSIGN(const Store::Asset measured, store().PutAssetBytes("what was measured of it", ""));
  editd::v1::Job job = FinishedJob(2);
  job.add_input_versions(made.version.Hex());
  job.add_exported()->set_name("measured-documents.jsonl");
  job.mutable_exported(0)->set_asset(measured.id.Hex());
  ASSERT_OK(store().PutJob(job));
  now_ += kLong;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<GarbageCollection> collection, store().StartGarbageCollection({}));
  ASSERT_OK(collection->Find(nullptr));
  EXPECT_THAT(collection->Items(), SizeIs(4));  // The version, its pack, both assets.
  ASSERT_OK(store().MoveRef("kept", Id{}, made.version, {}));
  for (bool done = false; !done;) {
    ASSERT_OK_AND_ASSIGN(done, collection->Sweep());
  }
  EXPECT_THAT(collection->Items(), IsEmpty());
  EXPECT_TRUE(store().HasAsset(corpus.id));
  EXPECT_TRUE(store().HasAsset(measured.id));
}

TEST_F(GarbageTest, AFolderThatIsPutAgainWhileItsOldFileGoesStays) {
  const auto put = [&]() -> absl::StatusOr<Id> {
    ASSIGN_OR_RETURN(const Store::Asset file, store().PutAssetBytes("in a folder", ""));
    editd::v1::FileEntry entry;
    entry.set_name("a.txt");
    entry.set_asset(file.id.Hex());
    return store().PutTree({entry});
  };
  ASSERT_OK_AND_ASSIGN(const Id tree, put());
  now_ += kLong;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<GarbageCollection> collection, store().StartGarbageCollection({}));
  ASSERT_OK(collection->Find(nullptr));
  ASSERT_OK(collection->Sweep());
  EXPECT_FALSE(store().GetTree(tree).ok());
  ASSERT_OK(put());
  for (bool done = false; !done;) {
    ASSERT_OK_AND_ASSIGN(done, collection->Sweep());
  }
  EXPECT_OK(store().GetTree(tree));
}

TEST_F(GarbageTest, ACheckpointThatAnotherAttemptLeftMeanwhileStays) {
  const auto keep = [&] {
    ASSERT_OK_AND_ASSIGN(const std::string staging, store().CreateStaging(1, 1));
    ASSERT_OK(WriteFileAtomically(staging + "/checkpoint", "kept"));
    ASSERT_OK(store().KeepCheckpoint(1, 1));
  };
  const auto end = [&] {
    editd::v1::Job job = FinishedJob(1);
    job.set_state(editd::v1::JOB_STATE_CANCELLED);
    ASSERT_OK(store().PutJob(job));
    keep();
  };
  end();
  now_ += kLong;
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<GarbageCollection> collection, store().StartGarbageCollection({}));
  ASSERT_OK(collection->Find(nullptr));
  EXPECT_THAT(Kinds(collection->Items()), ElementsAre(GarbageKind::kCheckpoint));
  end();
  for (bool done = false; !done;) {
    ASSERT_OK_AND_ASSIGN(done, collection->Sweep());
  }
  EXPECT_THAT(collection->Items(), IsEmpty());
  EXPECT_OK(store().OpenCheckpoint(1));
}

// The job that was reading it can be tried again after all.
TEST_F(GarbageTest, ACheckpointOfAVersionThatIsUsedMeanwhileStays) {
  ASSERT_OK_AND_ASSIGN(const Published made, store().Publish(Stage(&store(), {{{"a", "1"}}, {}, {}, "1"})));
  now_ += absl::Hours(48);
  editd::v1::Job job = FinishedJob(2);
  job.set_state(editd::v1::JOB_STATE_CANCELLED);
  job.add_input_versions(made.version.Hex());
  ASSERT_OK(store().PutJob(job));
  ASSERT_OK_AND_ASSIGN(const std::string staging, store().CreateStaging(2, 1));
  ASSERT_OK(WriteFileAtomically(staging + "/checkpoint", "kept"));
  ASSERT_OK(store().KeepCheckpoint(2, 1));
  now_ += absl::Hours(48);
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<GarbageCollection> collection, store().StartGarbageCollection({}));
  ASSERT_OK(collection->Find(nullptr));
  EXPECT_THAT(Kinds(collection->Items()),
              ElementsAre(GarbageKind::kVersion, GarbageKind::kPack, GarbageKind::kCheckpoint));
  ASSERT_OK(store().MoveRef("kept", Id{}, made.version, {}));
  for (bool done = false; !done;) {
    ASSERT_OK_AND_ASSIGN(done, collection->Sweep());
  }
  EXPECT_THAT(collection->Items(), IsEmpty());
  EXPECT_OK(store().OpenCheckpoint(2));
}

TEST_F(GarbageTest, ACollectionThatIsStoppedTakesNothing) {
  Publish({{{"a", "1"}}, {}, {}, "1"});
  now_ += kLong;
  {
    ASSERT_OK_AND_ASSIGN(std::unique_ptr<GarbageCollection> collection, store().StartGarbageCollection({}));
    EXPECT_TRUE(absl::IsCancelled(collection->Find([] { return true; })));
  }
  EXPECT_THAT(Kinds(Collect()), UnorderedElementsAre(GarbageKind::kVersion, GarbageKind::kPack));
}

TEST_F(GarbageTest, WhatNoRefReachesGoesAndItsLineageStays) {
  const Id base = Publish({{{"a", std::string(5000, 'a')}}, {{"config.json", "base"}}, {}, "1"});
  const Id child = Publish({{{"a", "other"}}, {{"config.json", "child"}}, {base}, "2"}, "smol");
  now_ += kLong;
  EXPECT_THAT(Kinds(Collect(true)),
              UnorderedElementsAre(GarbageKind::kVersion, GarbageKind::kPack, GarbageKind::kAsset));
  EXPECT_THAT(Files("packs"), SizeIs(2));
  EXPECT_THAT(Collect(), SizeIs(3));
  EXPECT_THAT(Files("packs"), SizeIs(1));
  EXPECT_THAT(Files("assets"), SizeIs(1));
  for (int round = 0; round < 2; ++round) {
    EXPECT_THAT(store().Ancestors(child), ElementsAre(base));
    ASSERT_OK_AND_ASSIGN(const editd::v1::Version tombstone, store().GetVersion(base, false));
    EXPECT_TRUE(tombstone.tombstone());
    EXPECT_THAT(store().GetVersion(base, true),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("was garbage-collected")));
    EXPECT_THAT(store().MoveRef("old", Id{}, base, {}),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("lineage")));
    EXPECT_FALSE(store().FindRecipe(Sha256::Of("1")).has_value());
    EXPECT_EQ(store().Stats().tombstones, 1u);
    EXPECT_EQ(store().Stats().versions, 1u);
    EXPECT_OK(store().GetVersion(child, true));
    EXPECT_THAT(Verify(), IsEmpty());
    Reopen();
  }
  EXPECT_THAT(Collect(), IsEmpty());
}

TEST_F(GarbageTest, ATombstoneComesBackWhenItIsMadeAgain) {
  const Made made = {{{"a", "bytes"}}, {{"f", "x"}}, {}};
  const Id id = Publish(made);
  now_ += kLong;
  Collect();
  EXPECT_EQ(Publish(made, "smol"), id);
  EXPECT_OK(store().GetVersion(id, true));
  EXPECT_EQ(store().FindRecipe(Sha256::Of("recipe")), id);
  EXPECT_EQ(store().Stats().tombstones, 0u);
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(GarbageTest, YoungVersionsStay) {
  const Id id = Publish({{{"a", "1"}}, {{"f", "x"}}, {}});
  now_ += absl::Minutes(30);
  EXPECT_THAT(Collect(), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> why, store().WhyAlive(id.Hex()));
  EXPECT_THAT(why, ElementsAre(HasSubstr("so it is young")));
  now_ += absl::Hours(1);
  EXPECT_THAT(Collect(), SizeIs(3));
}

TEST_F(GarbageTest, GraceOfZeroTakesEvenTheNewest) {
  Publish({{{"a", "1"}}, {{"f", "x"}}, {}});
  GarbageOptions options;
  options.grace = absl::ZeroDuration();
  ASSERT_OK_AND_ASSIGN(const std::vector<GarbageItem> items, store().CollectGarbage(options));
  EXPECT_THAT(items, SizeIs(3));
  EXPECT_EQ(store().Stats().assets, 0u);
}

TEST_F(GarbageTest, AMoveCanBeUndoneWithinTheWindow) {
  const Id first = Publish({{{"a", "1"}}, {}, {}, "1"}, "smol");
  now_ += kLong;
  Publish({{{"a", "2"}}, {}, {}, "2"}, "smol");
  now_ += absl::Hours(24);
  EXPECT_THAT(Collect(), IsEmpty());
  ASSERT_OK_AND_ASSIGN(const std::vector<std::string> why, store().WhyAlive("smol@v1"));
  EXPECT_THAT(why, ElementsAre(HasSubstr("ref smol pointed at it until")));
  now_ += absl::Hours(24 * 7);
  EXPECT_THAT(Collect(), SizeIs(2));
  EXPECT_TRUE(store().GetVersion(first, false)->tombstone());
}

TEST_F(GarbageTest, UnfinishedJobsKeepTheirInputsAndFiles) {
  const Id input = Publish({{{"a", "1"}}, {}, {}});
  ASSERT_OK_AND_ASSIGN(const Store::Asset corpus, store().PutAssetBytes("text", "envi.txt"));
  editd::v1::Job job;
  job.set_id(5);
  job.set_state(editd::v1::JOB_STATE_PENDING);
  job.add_input_versions(input.Hex());
  job.add_files()->set_path("envi.txt");
  job.mutable_files(0)->add_entries()->set_asset(corpus.id.Hex());
  ASSERT_OK(store().PutJob(job));
  now_ += kLong;
  EXPECT_THAT(Collect(), IsEmpty());
  EXPECT_THAT(*store().WhyAlive(input.Hex()), ElementsAre("job 5 reads it"));
  EXPECT_THAT(*store().WhyAlive(corpus.id.Hex()), ElementsAre("job 5 -> its file envi.txt"));
  job.set_state(editd::v1::JOB_STATE_FAILED);
  ASSERT_OK(store().PutJob(job));
  EXPECT_THAT(Kinds(Collect()), UnorderedElementsAre(GarbageKind::kVersion, GarbageKind::kPack, GarbageKind::kAsset));
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(GarbageTest, FilesStayAsLongAsTheVersionThatWasMadeFromThem) {
  const Id output = Publish({{{"a", "1"}}, {}, {}}, "smol");
  ASSERT_OK_AND_ASSIGN(const Store::Asset corpus, store().PutAssetBytes("text", "envi.txt"));
  ASSERT_OK_AND_ASSIGN(const Store::Asset exported, store().PutAssetBytes("bytes", "model.safetensors"));
  editd::v1::Job job = FinishedJob(5);
  job.set_output_version(output.Hex());
  job.add_files()->add_entries()->set_asset(corpus.id.Hex());
  job.add_exported()->set_asset(exported.id.Hex());
  ASSERT_OK(store().PutJob(job));
  now_ += absl::Minutes(5);
  EXPECT_THAT(Collect(), IsEmpty());
  now_ += kLong;
  EXPECT_THAT(Kinds(Collect()), ElementsAre(GarbageKind::kAsset));
  EXPECT_TRUE(store().HasAsset(corpus.id));
  EXPECT_FALSE(store().HasAsset(exported.id));
}

TEST_F(GarbageTest, AMeasurementStaysAsLongAsAVersionThatItIsOf) {
  const Id first = Publish({{{"a", "1"}}, {}, {}, "1"}, "smol");
  const Id second = Publish({{{"a", "2"}}, {}, {}, "2"}, "other");
  ASSERT_OK_AND_ASSIGN(const Store::Asset measured, store().PutAssetBytes("bits", "measured-documents.jsonl"));
  editd::v1::Job job = FinishedJob(5);
  job.add_input_versions(first.Hex());
  job.add_input_versions(second.Hex());
  job.add_exported()->set_asset(measured.id.Hex());
  job.mutable_exported(0)->set_name("measured-documents.jsonl");
  ASSERT_OK(store().PutJob(job));
  ASSERT_OK(store().MoveRef("smol", std::nullopt, Id{}, {}));
  now_ += absl::Hours(24 * 30);
  EXPECT_THAT(Kinds(Collect()), UnorderedElementsAre(GarbageKind::kVersion, GarbageKind::kPack));
  EXPECT_TRUE(store().HasAsset(measured.id));
  EXPECT_THAT(*store().WhyAlive(measured.id.Hex()), ElementsAre("job 5 exported it as measured-documents.jsonl"));
  ASSERT_OK(store().MoveRef("other", std::nullopt, Id{}, {}));
  now_ += absl::Hours(24 * 30);
  Collect();
  EXPECT_FALSE(store().HasAsset(measured.id));
}

TEST_F(GarbageTest, APackThatIsDeadInPartStays) {
  const Id base = Publish({{{"a", std::string(1000, 'a')}, {"b", std::string(3000, 'b')}}, {}, {}, "1"});
  Publish({{{"b", std::string(3000, 'b')}}, {}, {base}, "2"}, "smol");
  now_ += kLong;
  const std::vector<GarbageItem> items = Collect();
  ASSERT_THAT(items, SizeIs(2));
  EXPECT_TRUE(items[1].stays);
  EXPECT_EQ(items[1].bytes, 1000u);
  EXPECT_THAT(items[1].reason, HasSubstr("only 1 of its 2 tensors"));
  EXPECT_THAT(*store().WhyAlive(items[1].id), ElementsAre(HasSubstr("ref smol -> version ")));
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(GarbageTest, AnAssetThatIsPutAgainIsYoungAgain) {
  ASSERT_OK_AND_ASSIGN(const Store::Asset asset, store().PutAssetBytes("text", "a.txt"));
  now_ += kLong;
  ASSERT_OK(store().PutAssetBytes("text", "b.txt"));
  EXPECT_THAT(Collect(), IsEmpty());
  EXPECT_THAT(*store().WhyAlive(asset.id.Hex()), ElementsAre("it was put a short time ago"));
}

TEST_F(GarbageTest, WhyOfAFileLeadsBackToTheRef) {
  const Id id = Publish({{}, {{"config.json", "{}"}}, {}}, "smol");
  ASSERT_OK_AND_ASSIGN(const editd::v1::Version version, store().GetVersion(id, true));
  now_ += kLong;
  EXPECT_THAT(*store().WhyAlive(version.files(0).asset()),
              ElementsAre(StrCat("ref smol -> version ", id.Hex().substr(0, 12), " -> file config.json")));
  EXPECT_THAT(store().WhyAlive("nothing"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("nothing")));
  EXPECT_THAT(store().WhyAlive(Sha256::Of("x").Hex()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no version, pack or asset")));
}

TEST_F(GarbageTest, OrphansGo) {
  const std::string orphan = path() + "/assets/cd/" + std::string(64, 'c');
  std::filesystem::create_directories(path() + "/assets/cd");
  ASSERT_OK(WriteFileAtomically(orphan, "1234"));
  EXPECT_THAT(Collect(), IsEmpty());
  now_ += kLong;
  const std::vector<GarbageItem> items = Collect();
  ASSERT_THAT(items, SizeIs(1));
  EXPECT_EQ(items[0].id, "assets/cd/" + std::string(64, 'c'));
  EXPECT_FALSE(std::filesystem::exists(orphan));
}

TEST_F(GarbageTest, ATreeWithoutItsFilesIsForgotten) {
  ASSERT_OK_AND_ASSIGN(const Store::Asset asset, store().PutAssetBytes("text", "a.txt"));
  editd::v1::FileEntry entry;
  entry.set_name("a.txt");
  entry.set_asset(asset.id.Hex());
  ASSERT_OK_AND_ASSIGN(const Id tree, store().PutTree({entry}));
  EXPECT_THAT(*store().GetTree(tree), SizeIs(1));
  now_ += kLong;
  Collect();
  EXPECT_FALSE(store().GetTree(tree).ok());
}

}  // namespace
}  // namespace editd::storage
