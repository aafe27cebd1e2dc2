#include "daemon/plugin_types.h"

#include "daemon/job_input.h"
#include "daemon/testing/fake_plugin.h"
#include "storage/base/testing.h"

namespace editd::daemon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kAsset(64, 'a');

v1::FileBinding Binding(const std::string& path, const std::vector<std::string>& names) {
  v1::FileBinding binding;
  binding.set_path(path);
  for (const std::string& name : names) {
    v1::FileEntry* entry = binding.add_entries();
    entry->set_name(name);
    entry->set_asset(kAsset);
  }
  return binding;
}

class PluginTypesTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(types_, PluginTypes::Make(FakePlugin("make"))); }
  CanonicalParams Canonical(const google::protobuf::Any& params, const std::vector<v1::FileBinding>& bindings = {}) {
    return types_->Canonical(params, bindings, ContentName, [this](const std::string& name) {
      return name == dataset_.name() ? absl::StatusOr<v1::Dataset>(dataset_)
                                     : absl::NotFoundError("no dataset named \"" + name + "\"");
    });
  }
  v1::Dataset dataset_;
  std::unique_ptr<PluginTypes> types_;
};

TEST_F(PluginTypesTest, APathBecomesItsContent) {
  const CanonicalParams params =
      Canonical(FakeParams("x", "vi.txt"), {Binding("vi.txt", {""}), Binding("other", {""})});
  ASSERT_THAT(params.findings, IsEmpty());
  EXPECT_EQ(params.params.value(), FakeParams("x", "asset:" + kAsset).value());
  ASSERT_EQ(params.files.size(), 1u);  // Only what the params use.
  EXPECT_EQ(params.files[0].path(), "vi.txt");
}

TEST_F(PluginTypesTest, AFolderBecomesATree) {
  const CanonicalParams params = Canonical(FakeParams("x", "dir"), {Binding("dir", {"a", "b"})});
  ASSERT_THAT(params.findings, IsEmpty());
  ASSERT_THAT(params.values, ElementsAre(HasSubstr("tree:")));
}

TEST_F(PluginTypesTest, ADatasetStandsInPlaceOfAPath) {
  dataset_.set_name("vi");
  *dataset_.mutable_entries() = Binding("", {""}).entries();
  dataset_.set_content("asset:" + kAsset);
  const CanonicalParams params = Canonical(FakeParams("x", "dataset:vi"));
  ASSERT_THAT(params.findings, IsEmpty());
  EXPECT_EQ(params.params.value(), FakeParams("x", "asset:" + kAsset).value());
  ASSERT_EQ(params.files.size(), 1u);
  EXPECT_EQ(params.files[0].path(), "dataset:vi");
  EXPECT_EQ(params.files[0].entries(0).asset(), kAsset);
  EXPECT_THAT(Canonical(FakeParams("x", "dataset:en")).findings, ElementsAre("params.path: no dataset named \"en\""));
}

TEST_F(PluginTypesTest, AContentThatWasNotSentIsAFindingWithItsField) {
  EXPECT_THAT(Canonical(FakeParams("x", "vi.txt")).findings,
              ElementsAre(AllOf(HasSubstr("params.path: "), HasSubstr("\"vi.txt\""))));
}

TEST_F(PluginTypesTest, AnotherPluginsMessageIsRefused) {
  google::protobuf::Any params = FakeParams("x");
  params.set_type_url("type.googleapis.com/editd.plugins.trim.v1.TrimSpec");
  EXPECT_THAT(Canonical(params).findings, ElementsAre(AllOf(HasSubstr("takes a fake.v1.Spec"), HasSubstr("TrimSpec"))));
}

TEST_F(PluginTypesTest, UnknownFieldsAreFoundAtAnyDepth) {
  google::protobuf::Any params;
  params.set_type_url("type.googleapis.com/fake.v1.Spec");
  params.set_value(std::string("\x1a\x02\x48\x01", 4));  // part { 9: 1 }
  EXPECT_THAT(Canonical(params).findings, ElementsAre(HasSubstr("params.part[0]: fake.v1.Spec has no field number 9")));
  v1::JobSpec spec;
  ASSERT_TRUE(spec.ParseFromString(std::string("\xf8\x06\x01", 3)));
  std::vector<std::string> findings;
  FindUnknownFields(spec, "", &findings);
  EXPECT_THAT(findings, ElementsAre(HasSubstr("editd.v1.JobSpec has no field number 111")));
}

TEST_F(PluginTypesTest, BrokenBytesAreAFinding) {
  google::protobuf::Any params;
  params.set_value("\xff\xff");
  EXPECT_THAT(Canonical(params).findings, ElementsAre(HasSubstr("params: the bytes are no fake.v1.Spec")));
}

TEST(PluginTypes, DescriptorsMustBeWhole) {
  v1::Plugin plugin = FakePlugin("make");
  plugin.set_spec_type("fake.v1.Nothing");
  EXPECT_THAT(PluginTypes::Make(plugin), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("fake.v1.Nothing")));
  plugin.set_descriptors("\x0a\xff");
  EXPECT_THAT(PluginTypes::Make(plugin), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("FileDescriptorSet")));
}

}  // namespace
}  // namespace editd::daemon
