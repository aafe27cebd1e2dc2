#include "plugins/trim/keep_set.h"

#include "storage/base/testing.h"

namespace editd::trim {
namespace {

using ::testing::HasSubstr;

// "abc" has two pairs that give it; encoding it alone uses (ab, c), since (a, b) comes before (b, c).
constexpr char kJson[] = R"({
  "added_tokens": [{"id": 9, "content": "<s>", "special": true}],
  "model": {"type": "BPE",
    "vocab": {"a":0,"b":1,"c":2,"d":3,"ab":4,"bc":5,"abc":6,"abcd":7,"cd":8},
    "merges": ["a b", "b c", ["ab", "c"], "a bc", "abc d", "c d"]}})";

class KeepSetTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_OK_AND_ASSIGN(file_, TokenizerFile::Open(kJson)); }
  int32_t Id(const std::string& token) { return file_.Find(token); }
  TokenizerFile file_;
};

TEST_F(KeepSetTest, ClosureTakesTheWayThatEncodingTakes) {
  KeepSet set(file_);
  set.Keep(Id("abcd"), KeepSet::kList);
  set.Close();
  EXPECT_TRUE(set.Keeps(Id("abc")) && set.Keeps(Id("ab")) && set.Keeps(Id("a")) && set.Keeps(Id("d")));
  EXPECT_FALSE(set.Keeps(Id("bc")));
  EXPECT_FALSE(set.Keeps(Id("cd")));
  EXPECT_EQ(set.CountOnly(KeepSet::kClosure), 6u);
}

TEST_F(KeepSetTest, LeavesAndAddedTokensStay) {
  KeepSet set(file_);
  set.KeepLeavesAndAdded({0, 1, 2, 3});
  EXPECT_EQ(set.size(), 5u);
  EXPECT_TRUE(set.Keeps(Id("<s>")));
}

TEST_F(KeepSetTest, PruningTakesTheLeastUsedLeaf) {
  KeepSet set(file_);
  set.KeepLeavesAndAdded({0, 1, 2, 3});
  set.Keep(Id("abcd"), KeepSet::kCorpus);
  set.Keep(Id("cd"), KeepSet::kCorpus);
  set.Close();
  EXPECT_EQ(set.size(), 9u);
  std::vector<uint64_t> uses(10);
  uses[static_cast<size_t>(Id("abcd"))] = 5;
  uses[static_cast<size_t>(Id("cd"))] = 7;
  ASSERT_OK(set.Prune(8, uses));
  EXPECT_FALSE(set.Keeps(Id("abcd")));
  EXPECT_TRUE(set.Keeps(Id("cd")));
  ASSERT_OK(set.Prune(6, uses));  // abc is now a leaf, then ab; both were never used.
  EXPECT_FALSE(set.Keeps(Id("abc")) || set.Keeps(Id("ab")));
  EXPECT_TRUE(set.Keeps(Id("cd")));
  EXPECT_THAT(set.Prune(4, uses), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("set it to 5 or more")));
}

TEST_F(KeepSetTest, MapKeepsTheOrder) {
  KeepSet set(file_);
  set.KeepLeavesAndAdded({0, 1, 2, 3});
  set.Keep(Id("cd"), KeepSet::kList);
  EXPECT_EQ(set.Map(), (IdMap{0, 1, 2, 3, -1, -1, -1, -1, 4, 5}));
}

}  // namespace
}  // namespace editd::trim
