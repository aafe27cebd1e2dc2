#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "storage/testing.h"

namespace editd::storage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class AssetsTest : public StoreTest {
 protected:
  std::string WriteSource(const std::string& name, const std::string& content) {
    const std::string source = directory_ / name;
    EXPECT_OK(WriteFileAtomically(source, content));
    return source;
  }
  absl::StatusOr<Store::Asset> Put(const std::string& source) {
    ASSIGN_OR_RETURN(const UniqueFd fd, OpenForRead(source));
    return store().PutAsset(fd.get(), "source");
  }
  std::string Content(const Id& id) {
    absl::StatusOr<UniqueFd> fd = store().OpenAsset(id);
    EXPECT_OK(fd);
    absl::StatusOr<MappedFile> file = MappedFile::Map(fd->get(), 0, *FileSize(fd->get(), "asset"), "asset");
    EXPECT_OK(file);
    return std::string(file->view());
  }
};

TEST_F(AssetsTest, SmallAndLargeFilesAreStored) {
  for (size_t size : {size_t{0}, size_t{100}, size_t{4 << 20}, size_t{(4 << 20) + 1}, size_t{(9 << 20) + 7}}) {
    std::string content(size, 'x');
    if (size > 0) content.back() = 'y';
    ASSERT_OK_AND_ASSIGN(const Store::Asset asset, Put(WriteSource("source", content)));
    EXPECT_EQ(asset.size, size);
    EXPECT_EQ(asset.id, HashContent(ContentKind::Asset(), content));
    EXPECT_EQ(Content(asset.id), content);
  }
  EXPECT_THAT(Files("incoming"), IsEmpty());
  Reopen();
  EXPECT_EQ(store().Stats().assets, 5u);
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(AssetsTest, EqualFilesAreStoredOnceAndReadOnly) {
  ASSERT_OK_AND_ASSIGN(const Store::Asset first, Put(WriteSource("a", "same")));
  ASSERT_OK_AND_ASSIGN(const Store::Asset second, Put(WriteSource("b", "same")));
  EXPECT_EQ(first.id, second.id);
  const std::vector<std::string> files = Files("assets");
  ASSERT_THAT(files, SizeIs(1));
  struct stat info;
  ASSERT_EQ(::stat(files[0].c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0440u);
}

TEST_F(AssetsTest, TheSourcesOffsetIsNotMoved) {
  ASSERT_OK_AND_ASSIGN(const UniqueFd fd, OpenForRead(WriteSource("a", std::string(5 << 20, 'a'))));
  ASSERT_EQ(::lseek(fd.get(), 3, SEEK_SET), 3);
  ASSERT_OK_AND_ASSIGN(const Store::Asset asset, store().PutAsset(fd.get(), "a"));
  EXPECT_EQ(asset.size, size_t{5 << 20});
  EXPECT_EQ(::lseek(fd.get(), 0, SEEK_CUR), 3);
}

TEST_F(AssetsTest, OnlyRegularFiles) {
  EXPECT_THAT(Put(directory_.path()), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not a regular file")));
  EXPECT_THAT(Put("/dev/null"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is not a regular file")));
}

TEST_F(AssetsTest, ManyThreadsMayPut) {
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 8; ++i) {
        EXPECT_OK(store().PutAssetBytes(StrCat("shared ", i), "shared"));
        EXPECT_OK(store().PutAssetBytes(StrCat("own ", t, " ", i), "own"));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(store().Stats().assets, 8u + 4 * 8);
  EXPECT_THAT(Verify(), IsEmpty());
}

TEST_F(AssetsTest, ATreeIsNamedByItsSortedEntries) {
  std::vector<editd::v1::FileEntry> entries(2);
  entries[0].set_name("b.txt");
  entries[0].set_asset(Sha256::Of("b").Hex());
  entries[1].set_name("a.txt");
  entries[1].set_asset(Sha256::Of("a").Hex());
  ASSERT_OK_AND_ASSIGN(const Id id, store().PutTree(entries));
  std::swap(entries[0], entries[1]);
  EXPECT_EQ(*Store::TreeId(entries), id);
  Reopen();
  ASSERT_OK_AND_ASSIGN(const std::vector<editd::v1::FileEntry> stored, store().GetTree(id));
  ASSERT_THAT(stored, SizeIs(2));
  EXPECT_EQ(stored[0].name(), "a.txt");
  entries[1].set_name("a.txt");
  EXPECT_THAT(Store::TreeId(entries), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("stands twice")));
}

}  // namespace
}  // namespace editd::storage
