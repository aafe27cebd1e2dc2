// Compared with OpenSSL's SHA-256. Where the processor lacks the instructions, there is nothing to compare.
#include "storage/base/sha256_lanes.h"

#include <random>

#include "storage/base/strings.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"

namespace editd {
namespace {

void Compare(char mark, const std::vector<std::string>& chunks) {
  const std::vector<std::string_view> views(chunks.begin(), chunks.end());
  std::vector<Id> ids(chunks.size());
  if (!Sha256Marked(mark, views, ids.data())) GTEST_SKIP() << "the processor has no SHA-256 instructions";
  for (size_t i = 0; i < chunks.size(); ++i) {
    EXPECT_EQ(ids[i], Sha256::Of(StrCat(std::string(1, mark), chunks[i])))
        << "chunk " << i << " of " << chunks.size() << ", " << chunks[i].size() << " bytes";
  }
}

std::string Random(std::mt19937* random, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>((*random)());
  return bytes;
}

TEST(Sha256Lanes, EverySizeAroundABlock) {
  std::mt19937 random(1);
  std::vector<std::string> chunks;
  for (size_t size = 0; size < 300; ++size) {
    chunks.push_back(Random(&random, size));
    Compare('\0', {chunks.back()});
  }
  Compare('\0', chunks);
  Compare('x', chunks);
}

TEST(Sha256Lanes, AnyMixtureOfSizes) {
  std::mt19937 random(2);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::string> chunks(random() % 10);
    for (std::string& chunk : chunks) chunk = Random(&random, random() % (random() % 2 == 0 ? 200 : 50'000));
    Compare(static_cast<char>(round), chunks);
  }
}

TEST(Sha256Lanes, WholeChunks) {
  std::mt19937 random(3);
  std::vector<std::string> chunks;
  for (size_t less : {0, 1, 0, 0, 63, 0}) chunks.push_back(Random(&random, kChunkBytes - less));
  Compare('\0', chunks);
}

}  // namespace
}  // namespace editd
