#include "storage/testing.h"

namespace editd::storage {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class DatasetsTest : public StoreTest {
 protected:
  // One file, or a folder of them.
  editd::v1::Dataset Make(const std::string& name, const std::vector<std::pair<std::string, std::string>>& files) {
    editd::v1::Dataset dataset;
    dataset.set_name(name);
    dataset.set_path("texts");
    for (const auto& [file, content] : files) {
      const auto asset = store().PutAssetBytes(content, file);
      EXPECT_OK(asset);
      editd::v1::FileEntry* entry = dataset.add_entries();
      entry->set_name(file);
      entry->set_asset(asset->id.Hex());
      entry->set_size(content.size());
    }
    return dataset;
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const editd::v1::Dataset& dataset : store().ListDatasets()) names.push_back(dataset.name());
    return names;
  }
};

TEST_F(DatasetsTest, ANameGivesTheContentAlsoAfterARestart) {
  ASSERT_OK(store().AddDataset(Make("heldout/vi", {{"", "xin chào"}}), "anna"));
  ASSERT_OK(store().AddDataset(Make("folder", {{"a.txt", "a"}, {"b.txt", "bb"}}), "anna"));
  Reopen();
  EXPECT_THAT(Names(), ElementsAre("folder", "heldout/vi"));
  ASSERT_OK_AND_ASSIGN(const editd::v1::Dataset file, store().FindDataset("heldout/vi"));
  EXPECT_EQ(file.content(), "asset:" + file.entries(0).asset());
  EXPECT_EQ(file.bytes(), 9u);
  EXPECT_EQ(file.user(), "anna");
  ASSERT_OK_AND_ASSIGN(const editd::v1::Dataset folder, store().FindDataset("folder"));
  EXPECT_THAT(folder.content(), HasSubstr("tree:"));
  EXPECT_EQ(folder.bytes(), 3u);
}

TEST_F(DatasetsTest, ANameThatIsTakenKeepsItsContent) {
  ASSERT_OK(store().AddDataset(Make("vi", {{"", "1"}}), "anna"));
  EXPECT_OK(store().AddDataset(Make("vi", {{"", "1"}}), "bob"));
  EXPECT_THAT(store().AddDataset(Make("vi", {{"", "2"}}), "bob"),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("\"vi\" with another content")));
  editd::v1::Dataset other_field = Make("vi", {{"", "1"}});
  other_field.set_field("body");
  EXPECT_THAT(store().AddDataset(other_field, "bob"),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("\"vi\" with this content, but field \"\"")));
  EXPECT_EQ(store().FindDataset("vi")->user(), "anna");
  ASSERT_OK(store().RemoveDataset("vi"));
  EXPECT_OK(store().AddDataset(Make("vi", {{"", "2"}}), "bob"));
}

TEST_F(DatasetsTest, WhatIsWrongIsTold) {
  ASSERT_OK(store().AddDataset(Make("heldout", {{"", "1"}}), "anna"));
  EXPECT_THAT(store().FindDataset("heldot"),
              StatusIs(absl::StatusCode::kNotFound,
                       AllOf(HasSubstr("no dataset named \"heldot\""), HasSubstr("did you mean \"heldout\""))));
  EXPECT_TRUE(absl::IsNotFound(store().RemoveDataset("other").status()));
  EXPECT_THAT(store().AddDataset(Make("a b", {{"", "1"}}), "anna"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"a b\" is no name for a dataset")));
  EXPECT_THAT(store().AddDataset(Make("vi@v2", {{"", "1"}}), "anna"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a tag other than v1, v2, ... may follow")));
  editd::v1::Dataset missing = Make("missing", {{"", "1"}});
  missing.mutable_entries(0)->set_asset(std::string(64, 'a'));
  EXPECT_THAT(store().AddDataset(missing, "anna"),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("is not in the store")));
  EXPECT_THAT(store().AddDataset(Make("nothing", {}), "anna"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no file")));
}

TEST_F(DatasetsTest, GarbageCollectionLeavesTheContentAsLongAsTheName) {
  ASSERT_OK_AND_ASSIGN(const editd::v1::Dataset dataset, store().AddDataset(Make("vi", {{"", "text"}}), "anna"));
  now_ += absl::Hours(24 * 30);
  EXPECT_THAT(*store().CollectGarbage({}), IsEmpty());
  EXPECT_THAT(*store().WhyAlive(dataset.entries(0).asset()), ElementsAre("dataset vi"));
  ASSERT_OK(store().RemoveDataset("vi"));
  EXPECT_THAT(*store().CollectGarbage({}), SizeIs(1));
}

}  // namespace
}  // namespace editd::storage
