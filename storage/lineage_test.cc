#include "storage/lineage.h"

#include "storage/base/strings.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"

namespace editd::storage {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class LineageTest : public ::testing::Test {
 protected:
  static Id Named(const std::string& name) { return Sha256::Of(name); }
  void Add(const std::string& name, std::vector<std::string> parents) {
    editd::v1::LineageRow row;
    row.set_number(lineage_.next_number());
    for (const std::string& parent : parents) row.add_parents(std::string(Named(parent).view()));
    lineage_.Put(Named(name), row);
  }
  Lineage lineage_;
};

TEST_F(LineageTest, WalksNearestFirst) {
  Add("base", {});
  Add("trim", {"base"});
  Add("lora", {"trim"});
  Add("other", {"base"});
  Add("merge", {"lora", "other"});
  EXPECT_THAT(lineage_.Ancestors(Named("merge")),
              ElementsAre(Named("lora"), Named("other"), Named("base"), Named("trim")));
  EXPECT_THAT(lineage_.Descendants(Named("base")),
              ElementsAre(Named("trim"), Named("other"), Named("lora"), Named("merge")));
  EXPECT_THAT(lineage_.FirstParents(Named("merge")),
              ElementsAre(Named("merge"), Named("lora"), Named("trim"), Named("base")));
  EXPECT_THAT(lineage_.Ancestors(Named("base")), IsEmpty());
  EXPECT_THAT(lineage_.Ancestors(Named("unknown")), IsEmpty());
}

TEST_F(LineageTest, TheOrderOfRowsDoesNotMatter) {
  Add("child", {"base", "base"});
  EXPECT_EQ(lineage_.Find(Named("base")), nullptr);
  Add("base", {});
  EXPECT_NE(lineage_.Find(Named("base")), nullptr);
  EXPECT_THAT(lineage_.Descendants(Named("base")), ElementsAre(Named("child")));
}

TEST_F(LineageTest, PrefixesCountHexDigits) {
  for (int i = 0; i < 100; ++i) Add(StrCat(i), {});
  const Id id = Named("7");
  EXPECT_THAT(lineage_.WithPrefix(id.Hex().substr(0, 9), 5), ElementsAre(id));
  EXPECT_THAT(lineage_.WithPrefix(id.Hex(), 5), ElementsAre(id));
  EXPECT_THAT(lineage_.WithPrefix("", 5), SizeIs(5));
  EXPECT_THAT(lineage_.WithPrefix(id.Hex() + "0", 5), IsEmpty());
}

}  // namespace
}  // namespace editd::storage
