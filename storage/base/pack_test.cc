#include "storage/base/pack.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "storage/base/pack_writer.h"
#include "storage/base/testing.h"
#include "storage/base/tree_hash.h"

namespace editd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class PackTest : public ::testing::Test {
 protected:
  std::unique_ptr<PackWriter> Writer(PackWriterOptions options = {}, const std::string& name = "pack") {
    UniqueFd file(::open((directory_ / name).c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    absl::StatusOr<std::unique_ptr<PackWriter>> writer = PackWriter::Create(std::move(file), name, std::move(options));
    EXPECT_OK(writer);
    return *std::move(writer);
  }

  static absl::Status Write(PackWriter* writer, std::string_view name, DType dtype, std::vector<int64_t> shape,
                            std::string_view bytes, size_t piece = size_t{1} << 30) {
    RETURN_IF_ERROR(writer->Begin(name, dtype, shape));
    for (size_t i = 0; i < bytes.size(); i += piece) {
      const std::string_view part = bytes.substr(i, piece);
      RETURN_IF_ERROR(writer->Append(part.data(), part.size()));
    }
    return absl::OkStatus();
  }

  std::string Bytes(size_t size, unsigned seed) {
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>((seed = seed * 1664525u + 1013904223u) >> 24);
    return bytes;
  }

  TemporaryDirectory directory_;
};

TEST_F(PackTest, ReadsBackWhatWasWritten) {
  const std::string small = Bytes(30, 1), large = Bytes(3 * kChunkBytes + 6, 2);
  for (unsigned threads : {0u, 1u, 3u}) {
    for (size_t piece : {size_t{1000}, kChunkBytes, size_t{1} << 30}) {
      std::unique_ptr<PackWriter> writer = Writer({.threads = threads});
      ASSERT_OK(Write(writer.get(), "small", DType::kU8, {5, 6}, small, piece));
      ASSERT_OK(Write(writer.get(), "empty", DType::kF32, {0, 7}, ""));
      ASSERT_OK(Write(writer.get(), "large", DType::kI16, {3 * kChunkBytes / 2 + 3}, large, piece));
      ASSERT_OK_AND_ASSIGN(const WrittenPack pack, writer->Finish());
      EXPECT_EQ(pack.data_bytes, small.size() + large.size());
      ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(directory_ / "pack"));
      ASSERT_EQ(file.size(), pack.file_size);
      ASSERT_OK_AND_ASSIGN(const PackHeader header, ParsePackHeader(file.view()));
      EXPECT_EQ(header.id, pack.id);
      EXPECT_EQ(header.file_size, pack.file_size);
      EXPECT_EQ(header.data_offset % kPackDataAlignment, 0u);
      ASSERT_EQ(header.tensors.size(), 3u);
      for (size_t i = 0; i < 3; ++i) {
        const PackTensor& tensor = header.tensors[i];
        EXPECT_EQ(tensor.id, pack.tensors[i].tensor.id);
        EXPECT_EQ(tensor.offset, pack.tensors[i].tensor.offset);
        EXPECT_EQ(tensor.offset % kPackTensorAlignment, 0u);
        const std::string_view bytes = file.view().substr(tensor.offset, tensor.size);
        EXPECT_EQ(HashContent(ContentKind::Tensor(tensor.dtype, tensor.shape), bytes), tensor.id);
      }
      EXPECT_EQ(file.view().substr(header.tensors[2].offset), large);
    }
  }
}

TEST_F(PackTest, MoreTensorsThanExpectedMoveTheData) {
  std::unique_ptr<PackWriter> writer = Writer({.expected_tensors = 1});
  std::vector<std::string> contents;
  for (unsigned i = 0; i < 200; ++i) {
    contents.push_back(Bytes(100 + i, i));
    ASSERT_OK(Write(writer.get(), "t", DType::kU8, {100 + i}, contents.back()));
  }
  ASSERT_OK_AND_ASSIGN(const WrittenPack pack, writer->Finish());
  ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(directory_ / "pack"));
  ASSERT_OK_AND_ASSIGN(const PackHeader header, ParsePackHeader(file.view()));
  ASSERT_EQ(header.file_size, file.size());
  for (size_t i = 0; i < contents.size(); ++i) {
    EXPECT_EQ(file.view().substr(pack.tensors[i].tensor.offset, contents[i].size()), contents[i]) << i;
  }
}

TEST_F(PackTest, EqualTensorsAreStoredOnce) {
  const std::string ones(2 * kChunkBytes, '\1'), last = Bytes(64, 3);
  std::unique_ptr<PackWriter> writer = Writer();
  ASSERT_OK(Write(writer.get(), "a", DType::kU8, {2 * kChunkBytes}, ones));
  ASSERT_OK(Write(writer.get(), "b", DType::kU8, {2 * kChunkBytes}, ones));
  ASSERT_OK(Write(writer.get(), "c", DType::kU8, {2, kChunkBytes}, ones));  // Another shape is another tensor.
  ASSERT_OK(Write(writer.get(), "d", DType::kU8, {64}, last));
  ASSERT_OK_AND_ASSIGN(const WrittenPack pack, writer->Finish());
  EXPECT_EQ(pack.tensors[0].tensor.id, pack.tensors[1].tensor.id);
  EXPECT_EQ(pack.tensors[0].tensor.offset, pack.tensors[1].tensor.offset);
  EXPECT_NE(pack.tensors[0].tensor.id, pack.tensors[2].tensor.id);
  EXPECT_EQ(pack.data_bytes, 2 * ones.size() + 64);
  ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(directory_ / "pack"));
  ASSERT_OK_AND_ASSIGN(const PackHeader header, ParsePackHeader(file.view()));
  EXPECT_EQ(header.tensors.size(), 3u);
  EXPECT_EQ(file.view().substr(pack.tensors[3].tensor.offset, 64), last);
}

TEST_F(PackTest, KnownTensorsLeaveNoPack) {
  const std::string bytes = Bytes(5000, 4);
  const std::vector<int64_t> shape = {5000};
  const Id known = HashContent(ContentKind::Tensor(DType::kU8, shape), bytes);
  std::unique_ptr<PackWriter> writer = Writer({.known = [&](const Id& id) { return id == known; }});
  ASSERT_OK(Write(writer.get(), "a", DType::kU8, shape, bytes));
  ASSERT_OK_AND_ASSIGN(const WrittenPack pack, writer->Finish());
  EXPECT_TRUE(pack.id.empty());
  EXPECT_EQ(pack.tensors[0].tensor.id, known);
  EXPECT_FALSE(pack.tensors[0].in_pack);
  EXPECT_EQ(std::filesystem::file_size(directory_ / "pack"), 0u);
}

TEST_F(PackTest, RefusesNonFiniteTensors) {
  std::vector<float> values(300000, 1.0f);
  values[290001] = std::numeric_limits<float>::quiet_NaN();
  const std::string_view bytes(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  std::unique_ptr<PackWriter> writer = Writer();
  absl::Status status = Write(writer.get(), "norm", DType::kF32, {3000, 100}, bytes);
  if (status.ok()) status = writer->Finish().status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kFailedPrecondition,
                               HasSubstr("tensor \"norm\" has NaN at element 290001 ([2900, 1])")));
  EXPECT_TRUE(writer->refused());

  values[290001] = -std::numeric_limits<float>::infinity();
  writer = Writer({.threads = 0});
  EXPECT_THAT(Write(writer.get(), "norm", DType::kF32, {3000, 100}, bytes),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("has infinity at element 290001")));
  writer = Writer({.require_finite = false});
  ASSERT_OK(Write(writer.get(), "norm", DType::kF32, {3000, 100}, bytes));
  EXPECT_OK(writer->Finish());
}

TEST_F(PackTest, RefusesWrongAmounts) {
  std::unique_ptr<PackWriter> writer = Writer();
  EXPECT_THAT(Write(writer.get(), "a", DType::kF32, {2}, "123456789"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("takes 8 bytes, 9 were written")));
  writer = Writer();
  ASSERT_OK(Write(writer.get(), "a", DType::kF32, {2}, "1234567"));
  EXPECT_THAT(writer->Begin("b", DType::kF32, {}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("only 7")));
  EXPECT_THAT(writer->Finish(), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("only 7")));
  const std::vector<int64_t> huge = {int64_t{1} << 40, int64_t{1} << 40};
  EXPECT_THAT(Writer()->Begin("c", DType::kF32, huge),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too large")));
}

TEST_F(PackTest, ReportsAFullDisk) {
  UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  ASSERT_OK_AND_ASSIGN(std::unique_ptr<PackWriter> writer, PackWriter::Create(std::move(full), "/dev/full"));
  const std::string bytes = Bytes(3 * kChunkBytes, 5);
  absl::Status status = Write(writer.get(), "a", DType::kU8, {3 * kChunkBytes}, bytes);
  if (status.ok()) status = writer->Finish().status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("write /dev/full")));
  EXPECT_FALSE(writer->refused());
}

class PackHeaderTest : public ::testing::Test {
 protected:
  PackHeaderTest() {
    PackTensor tensor{Sha256::Of("a"), DType::kF32, {2, 3}, 0, 24};
    tensors_.push_back(tensor);
    tensor.id = Sha256::Of("b");
    tensor.offset = 64;
    tensors_.push_back(tensor);
    header_ = FormatPackHeader(tensors_, 88, 0);
  }
  // The header with `from` replaced by `to` (of the same length).
  absl::Status With(std::string_view from, std::string_view to) const {
    std::string changed = header_;
    const size_t at = changed.find(from);
    EXPECT_NE(at, std::string::npos);
    changed.replace(at, from.size(), to);
    return ParsePackHeader(changed).status();
  }
  std::vector<PackTensor> tensors_;
  std::string header_;
};

TEST_F(PackHeaderTest, IsReadable) {
  ASSERT_OK_AND_ASSIGN(const PackHeader header, ParsePackHeader(header_));
  EXPECT_EQ(header.data_offset, 4096u);
  EXPECT_EQ(header.file_size, 4096u + 88);
  EXPECT_EQ(header.tensors[1].offset, 4096u + 64);
}

TEST_F(PackHeaderTest, LiesAreFound) {
  EXPECT_THAT(With("F32", "F33"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("unknown element type")));
  EXPECT_THAT(With("[0,24]", "[0,28]"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("24 bytes by its shape")));
  EXPECT_THAT(With("[0,24]", "[8,32]"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("do not follow")));
  EXPECT_THAT(With("[2,3]", "[2;3]"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("`,` is expected")));
  EXPECT_THAT(With(tensors_[1].id.Hex(), tensors_[0].id.Hex()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("stands twice")));
  EXPECT_THAT(With(tensors_[1].id.Hex().substr(0, 4), "zzzz"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("not an id")));
  EXPECT_THAT(With("}  ", "} x"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("pack header, byte ")));
  EXPECT_THAT(ParsePackHeader(std::string_view(header_).substr(0, 4000)),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("cut off")));
  EXPECT_THAT(ParsePackHeader("abc"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("shorter")));
  EXPECT_THAT(ParsePackHeader(std::string(8, '\xff')),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("none of ours")));
}

}  // namespace
}  // namespace editd
