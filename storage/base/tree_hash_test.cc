// The expected ids were computed with Python's hashlib from the definition in storage/FORMAT.md.
#include "storage/base/tree_hash.h"

#include "storage/base/file.h"
#include "storage/base/testing.h"

namespace editd {
namespace {

// Two chunks and twelve bytes more.
std::string Pattern() {
  std::string bytes(2 * kChunkBytes + 12, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>((i * 7 + i / 251) % 256);
  return bytes;
}

std::string Counting(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i);
  return bytes;
}

TEST(TreeHash, AssetVectors) {
  EXPECT_EQ(HashContent(ContentKind::Asset(), "").Hex(),
            "d2f3a8041747db44abf100d9f629d01d23716e84a789583d430e32e4e73a094b");
  EXPECT_EQ(HashContent(ContentKind::Asset(), "abc").Hex(),
            "bf04685ae22b12f68209f055eb2374b5deae0077e8c04d95bb19d62aec456d42");
  EXPECT_EQ(HashContent(ContentKind::Asset(), Pattern()).Hex(),
            "20539e7fcb8cdc6ed2c358f6662d4f44dd3faf7a8e0496dabffc0f12fb8ae650");
}

TEST(TreeHash, TensorVectors) {
  const std::vector<int64_t> two_by_three = {2, 3}, three_by_four = {3, 4};
  EXPECT_EQ(HashContent(ContentKind::Tensor(DType::kF32, two_by_three), Counting(24)).Hex(),
            "6593a11917f41af1bb59badf0b84490b862887d75f0cde090c5ed69e46b27d06");
  EXPECT_EQ(HashContent(ContentKind::Tensor(DType::kBF16, three_by_four), Counting(24)).Hex(),
            "abe16d3acf09ed609dd115b1bb029fa86a0ffee2d74d10d4ba2466831f9ae1cd");
  EXPECT_EQ(HashContent(ContentKind::Tensor(DType::kU8, {}), "\7").Hex(),
            "9a1b23ae2cccc7a6df9b1536e3709974545b04f623e63f76c26f0d3230cf353a");
}

TEST(TreeHash, ThreadsAndFilesGiveTheSameId) {
  TemporaryDirectory directory;
  const std::string bytes = Pattern() + Pattern() + Pattern();
  const Id expected = HashContent(ContentKind::Asset(), bytes);
  ASSERT_OK(WriteFileAtomically(directory / "file", "before" + bytes));
  ASSERT_OK_AND_ASSIGN(const UniqueFd file, OpenForRead(directory / "file"));
  for (unsigned threads : {1u, 2u, 4u}) {
    EXPECT_EQ(HashContent(ContentKind::Asset(), bytes, threads), expected);
    std::string copy(bytes.size(), '\0');
    const auto also = [&](uint64_t begin, std::string_view piece) {
      piece.copy(copy.data() + begin, piece.size());
      return absl::OkStatus();
    };
    ASSERT_OK_AND_ASSIGN(const Id id,
                         HashFile(ContentKind::Asset(), file.get(), 6, bytes.size(), threads, "file", also));
    EXPECT_EQ(id, expected);
    EXPECT_EQ(copy, bytes);
  }
}

TEST(TreeHash, AFileThatEndsEarlyAndAFailingConsumerAreErrors) {
  TemporaryDirectory directory;
  ASSERT_OK(WriteFileAtomically(directory / "file", Pattern()));
  ASSERT_OK_AND_ASSIGN(const UniqueFd file, OpenForRead(directory / "file"));
  const size_t size = Pattern().size();
  EXPECT_THAT(HashFile(ContentKind::Asset(), file.get(), 1, size, 2, "f"),
              StatusIs(absl::StatusCode::kOutOfRange, ::testing::HasSubstr("f: ends at ")));
  const auto full = [](uint64_t, std::string_view) { return absl::ResourceExhaustedError("no room"); };
  EXPECT_THAT(HashFile(ContentKind::Asset(), file.get(), 0, size, 2, "f", full),
              StatusIs(absl::StatusCode::kResourceExhausted, "no room"));
}

TEST(Id, ReadsWhatItPrints) {
  const Id id = Sha256::Of("x");
  ASSERT_OK_AND_ASSIGN(const Id again, Id::FromHex(id.Hex()));
  EXPECT_EQ(again, id);
  EXPECT_FALSE(id.empty());
  EXPECT_FALSE(Id::FromHex("41f0").ok());
  EXPECT_FALSE(Id::FromHex(std::string(64, 'G')).ok());
  EXPECT_FALSE(Id::FromHex(std::string(64, 'A')).ok());
}

}  // namespace
}  // namespace editd
