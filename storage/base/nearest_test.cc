#include "storage/base/nearest.h"

#include <vector>

#include "storage/base/testing.h"

namespace editd {
namespace {

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(EditDistance("smol", "smol"), 0u);
  EXPECT_EQ(EditDistance("smol-env", "smol-envi"), 1u);
  EXPECT_EQ(EditDistance("tirm", "trim"), 1u);
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
}

TEST(Nearest, OffersOnlyWhatMayBeMeant) {
  const std::vector<std::string> names = {"smol", "smol-envi", "qwen"};
  EXPECT_EQ(DidYouMean("smol-env", names), "; did you mean \"smol-envi\"?");
  EXPECT_EQ(DidYouMean("llama-70b", names), "");
}

}  // namespace
}  // namespace editd
