// The expected ids were computed with Python's hashlib from the layouts in storage/FORMAT.md. They must never change:
// they name what is stored.
#include "storage/identity.h"

#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"

namespace editd::storage {
namespace {

using ::testing::HasSubstr;

constexpr char kContent[] = "d89e68dfbb1179c21594890713be8a879cc675546094aa34850fea7279efa54d";
constexpr char kRecipe[] = "4c41a6b387ba1a585755821df0bb5e3d0ea60f88495a33730a0a64673193c4d8";
constexpr char kVersion[] = "d1e8b2c89179c099b776c3d59d13f7916ac47491a52962eb65230726d6a4bb42";
constexpr char kTree[] = "7152b1ab11c00420f5d25b494220d0a29397150d761477ddd41a4132d363469c";

editd::v1::Version Example() {
  editd::v1::Version version;
  for (const char* name : {"b", "a"}) {  // The order does not matter.
    editd::v1::Tensor* tensor = version.add_tensors();
    tensor->set_name(name);
    tensor->set_id(Sha256::Of(std::string("t") + name).Hex());
  }
  version.add_files()->set_name("config.json");
  version.mutable_files(0)->set_asset(Sha256::Of("fc").Hex());
  (*version.mutable_attributes())["architecture"] = "LlamaForCausalLM";
  version.add_parents()->set_version(Sha256::Of("v1").Hex());
  version.mutable_parents(0)->set_role("base");
  version.add_parents()->set_version(Sha256::Of("v2").Hex());
  version.mutable_recipe()->set_id(kRecipe);
  return version;
}

TEST(Identity, ContentVector) {
  ASSERT_OK_AND_ASSIGN(const Id id, ContentId(Example()));
  EXPECT_EQ(id.Hex(), kContent);
}

TEST(Identity, RecipeVector) {
  const std::vector<std::pair<std::string, Id>> inputs = {{"base", Sha256::Of("v1")}, {"", Sha256::Of("v2")}};
  EXPECT_EQ(RecipeId("trim", Sha256::Of("plugin"), "params", inputs, 7).Hex(), kRecipe);
}

TEST(Identity, VersionVector) {
  editd::v1::Version version = Example();
  version.set_content(kContent);
  version.set_user("nobody");  // Stands beside the identity.
  version.mutable_created()->set_seconds(5);
  ASSERT_OK_AND_ASSIGN(const Id id, VersionId(version));
  EXPECT_EQ(id.Hex(), kVersion);
}

TEST(Identity, TreeVector) {
  std::vector<editd::v1::FileEntry> entries(2);
  entries[0].set_name("b.txt");
  entries[0].set_asset(Sha256::Of("b").Hex());
  entries[1].set_name("a.txt");
  entries[1].set_asset(Sha256::Of("a").Hex());
  ASSERT_OK_AND_ASSIGN(const Id id, TreeId(&entries));
  EXPECT_EQ(id.Hex(), kTree);
}

TEST(Identity, EveryPartCounts) {
  editd::v1::Version version = Example();
  version.mutable_tensors(0)->set_name("c");
  EXPECT_NE(ContentId(version)->Hex(), kContent);
  version = Example();
  (*version.mutable_attributes())["vocab.rows"] = "4";
  EXPECT_NE(ContentId(version)->Hex(), kContent);
  version = Example();
  version.set_content(kContent);
  std::swap(*version.mutable_parents(0), *version.mutable_parents(1));
  EXPECT_NE(VersionId(version)->Hex(), kVersion);
}

TEST(Identity, WhatIsNoIdIsNamed) {
  editd::v1::Version version = Example();
  version.mutable_tensors(0)->set_id("41f0");
  EXPECT_THAT(ContentId(version),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tensor \"b\": \"41f0\" is not an id")));
  version = Example();
  version.mutable_files(0)->set_name("");
  EXPECT_THAT(ContentId(version), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("a file has no name")));
  EXPECT_THAT(VersionId(Example()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("version.content")));
}

}  // namespace
}  // namespace editd::storage
