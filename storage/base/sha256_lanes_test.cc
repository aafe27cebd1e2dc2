// Compared with OpenSSL's SHA-256. Where the processor lacks the instructions, there is nothing to compare.
#include "storage/base/sha256_lanes.h"

#include <cstring>
#include <random>

#include "storage/base/sha256_kernels.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"

namespace editd {
namespace {

void Compare(char mark, const std::vector<std::string>& chunks) {
  std::vector<Id> ids(chunks.size());
  size_t given = 0, told = 0;
  const bool hashed = HashSideBySide(
      mark,
      [&](Sha256Message* message) {
        if (given == chunks.size()) return false;
        *message = {chunks[given], &ids[given], {}};
        ++given;
        return true;
      },
      [&](const Sha256Message& message) {
        *static_cast<Id*>(message.owner) = message.id;
        ++told;
      });
  if (!hashed) GTEST_SKIP() << "the processor has neither SHA-256 instructions nor AVX-512";
  EXPECT_EQ(told, chunks.size());
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
    std::vector<std::string> chunks(random() % 40);
    for (std::string& chunk : chunks) chunk = Random(&random, random() % (random() % 2 == 0 ? 200 : 50'000));
    Compare(static_cast<char>(round), chunks);
  }
}

// A source that gives nothing for a while is asked again when a message is done.
TEST(Sha256Lanes, MessagesThatComeLate) {
  std::mt19937 random(4);
  std::vector<std::string> chunks;
  for (int i = 0; i < 60; ++i) chunks.push_back(Random(&random, random() % 3000));
  std::vector<Id> ids(chunks.size());
  size_t given = 0, may_give = 1;
  const bool hashed = HashSideBySide(
      'm',
      [&](Sha256Message* message) {
        if (given == std::min(may_give, chunks.size())) return false;
        *message = {chunks[given], &ids[given], {}};
        ++given;
        return true;
      },
      [&](const Sha256Message& message) {
        *static_cast<Id*>(message.owner) = message.id;
        may_give += 1 + random() % 3;
      });
  if (!hashed) GTEST_SKIP() << "the processor has neither SHA-256 instructions nor AVX-512";
  for (size_t i = 0; i < chunks.size(); ++i) EXPECT_EQ(ids[i], Sha256::Of(StrCat("m", chunks[i]))) << i;
}

// Each kernel by itself: which one the lanes take depends on the processor.
TEST(Sha256Lanes, KernelsAgree) {
  std::mt19937 random(5);
  for (const size_t blocks : {1, 2, 7}) {
    std::vector<std::string> messages;
    const char* data[kMaxSha256Lanes];
    for (size_t i = 0; i < kMaxSha256Lanes; ++i) messages.push_back(Random(&random, blocks * kSha256Block));
    for (size_t i = 0; i < kMaxSha256Lanes; ++i) data[i] = messages[i].data();
    Sha256States start;
    for (auto& word : start.words) {
      for (uint32_t& lane : word) lane = static_cast<uint32_t>(random());
    }
    if (!HasAvx512() || !HasShaInstructions()) GTEST_SKIP() << "the processor has only one of the kernels";
    Sha256States wide = start;
    CompressByAvx512(&wide, data, blocks);
    for (size_t count = 1; count <= kShaInstructions; ++count) {
      Sha256States few = start;
      for (size_t first = 0; first < kMaxSha256Lanes; first += count) {
        size_t lanes[kShaInstructions];
        const size_t now = std::min(count, kMaxSha256Lanes - first);
        for (size_t i = 0; i < now; ++i) lanes[i] = first + i;
        CompressByInstructions(&few, lanes, data + first, now, blocks);
      }
      EXPECT_EQ(std::memcmp(&few, &wide, sizeof(few)), 0) << blocks << " blocks, " << count << " at once";
    }
  }
}

TEST(Sha256Lanes, WholeChunks) {
  std::mt19937 random(3);
  std::vector<std::string> chunks;
  for (size_t less : {0, 1, 0, 0, 63, 0, 0, 2, 0, 0, 500'000, 0, 0, 0, 64, 0, 0, 0, 900'000, 0})
    chunks.push_back(Random(&random, kChunkBytes - less));
  Compare('\0', chunks);
}

}  // namespace
}  // namespace editd
