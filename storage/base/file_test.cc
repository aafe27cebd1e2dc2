#include "storage/base/file.h"

#include <cmath>
#include <filesystem>
#include <limits>

#include "storage/base/dtype.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd {
namespace {

using ::testing::HasSubstr;

TEST(File, WrittenAtomicallyReadsBack) {
  TemporaryDirectory dir;
  ASSERT_OK(WriteFileAtomically(dir / "a", "one"));
  ASSERT_OK(WriteFileAtomically(dir / "a", "two"));
  ASSERT_OK_AND_ASSIGN(std::string content, ReadWholeFile(dir / "a"));
  EXPECT_EQ(content, "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(File, ErrorNamesThePath) {
  EXPECT_THAT(ReadWholeFile("/nonexistent/x"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nonexistent/x")));
}

TEST(MappedFile, MapsAnUnalignedPart) {
  TemporaryDirectory dir;
  std::string content(10000, 'x');
  content.replace(5001, 5, "hello");
  ASSERT_OK(WriteFileAtomically(dir / "a", content));
  ASSERT_OK_AND_ASSIGN(UniqueFd fd, OpenForRead(dir / "a"));
  ASSERT_OK_AND_ASSIGN(MappedFile part, MappedFile::Map(fd.get(), 5001, 5, "a"));
  EXPECT_EQ(part.view(), "hello");
  EXPECT_THAT(MappedFile::Map(fd.get(), 9999, 2, "a"), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("10000")));
  EXPECT_THAT(MappedFile::Map(fd.get(), ~0ull, 2, "a"), StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("a")));
}

TEST(MappedFile, DroppedPagesReadBack) {
  TemporaryDirectory dir;
  ASSERT_OK(WriteFileAtomically(dir / "a", std::string(1 << 20, 'y')));
  ASSERT_OK_AND_ASSIGN(MappedFile file, MappedFile::Open(dir / "a"));
  MappedFile::Drop(file.data() + 100, file.size() - 100);
  EXPECT_EQ(file.view(), std::string(1 << 20, 'y'));
}

// The reference is the definition: the nearest of all 65,536 values, ties to the even one.
TEST(DType, HalfConvertsBothWays) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = HalfToFloat(static_cast<uint16_t>(bits));
    const uint16_t back = FloatToHalf(value);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(HalfToFloat(back)));
      continue;
    }
    ASSERT_EQ(back, bits);
    const float next = HalfToFloat(static_cast<uint16_t>(bits + 1));
    if ((bits & 0x7fff) >= 0x7bff) continue;
    const float middle = (value + next) / 2;  // Exact in float.
    ASSERT_EQ(FloatToHalf(middle), (bits & 1) ? bits + 1 : bits) << bits;
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, value)), bits);
    ASSERT_EQ(FloatToHalf(std::nextafter(middle, next)), bits + 1);
  }
  EXPECT_EQ(FloatToHalf(65519.996f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(HalfToFloat(0x7c00), std::numeric_limits<float>::infinity());
}

TEST(DType, BFloat16RoundsToNearestEven) {
  EXPECT_EQ(FloatToBFloat16(1.0f), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(FloatToBFloat16(std::bit_cast<float>(0x7f7fffffu)), 0x7f80);
  EXPECT_TRUE(std::isnan(BFloat16ToFloat(FloatToBFloat16(std::bit_cast<float>(0x7f800001u)))));
}

TEST(DType, NamesReadBack) {
  for (const DTypeTraits& traits : kDTypes) EXPECT_EQ(DTypeName(*DTypeFromName(traits.name)), traits.name);
  EXPECT_FALSE(DTypeFromName("F4").has_value());
}

}  // namespace
}  // namespace editd
