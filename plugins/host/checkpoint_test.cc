#include "plugins/host/checkpoint.h"

#include <fcntl.h>

#include "editd/plugin.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::host {
namespace {

using ::testing::HasSubstr;

class CheckpointTest : public ::testing::Test {
 protected:
  UniqueFd Staging() const { return UniqueFd(::open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }
  UniqueFd Left() const { return UniqueFd(::open((dir_ / "checkpoint").c_str(), O_RDONLY | O_CLOEXEC)); }

  TemporaryDirectory dir_;
  const Id owner_ = Checkpoint::Owner(7, "recipe", "plugin");
};

TEST_F(CheckpointTest, TheLastOneSavedIsFoundAgain) {
  Checkpoint first(owner_, Staging(), UniqueFd());
  EXPECT_THAT(*first.Load(), "");
  ASSERT_OK(first.Save("much, much longer than what follows"));
  ASSERT_OK(first.Save(std::string_view("a\0b", 3)));
  Checkpoint second(owner_, Staging(), Left());
  EXPECT_EQ(*second.Load(), std::string_view("a\0b", 3));
  EXPECT_EQ(*second.Load(), std::string_view("a\0b", 3));
}

TEST_F(CheckpointTest, AnotherJobsOrBuildsIsRefused) {
  ASSERT_OK(Checkpoint(owner_, Staging(), UniqueFd()).Save("x"));
  for (const Id& other : {Checkpoint::Owner(8, "recipe", "plugin"), Checkpoint::Owner(7, "another", "plugin"),
                          Checkpoint::Owner(7, "recipe", "rebuilt")}) {
    EXPECT_THAT(Checkpoint(other, Staging(), Left()).Load(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another build of the plugin")));
  }
}

TEST_F(CheckpointTest, ATornOrChangedOneIsRefused) {
  ASSERT_OK(Checkpoint(owner_, Staging(), UniqueFd()).Save("content"));
  const std::string whole = *ReadWholeFile(dir_ / "checkpoint");
  ASSERT_OK(ParseCheckpoint(whole, owner_));
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(ParseCheckpoint(whole.substr(0, size), owner_).ok());
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    EXPECT_FALSE(ParseCheckpoint(changed, owner_).ok()) << at;
  }
  EXPECT_FALSE(ParseCheckpoint(whole + "x", owner_).ok());
}

TEST_F(CheckpointTest, OneThatIsTooLargeLeavesTheOldInPlace) {
  Checkpoint first(owner_, Staging(), UniqueFd());
  ASSERT_OK(first.Save("small"));
  const std::string large(EDIT_CHECKPOINT_BYTES + 1, 'x');
  EXPECT_THAT(first.Save(large), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("are kept")));
  EXPECT_EQ(*Checkpoint(owner_, Staging(), Left()).Load(), "small");
}

}  // namespace
}  // namespace editd::host
