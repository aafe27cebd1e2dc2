#include "plugins/lib/formats/safetensors.h"

#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string File(const std::string& header, size_t data) {
  std::string out(8, '\0');
  for (int i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i));
  return out + header + std::string(data, 'x');
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape, uint64_t begin,
                  uint64_t end) {
  return StrCat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":[", begin, ",", end,
                "]}");
}

// What ReadSafetensors says of a header with these entries and `data` bytes.
std::string ErrorOf(const std::string& entries, size_t data) {
  const auto header = ReadSafetensors(File("{" + entries + "}", data), "m.safetensors");
  EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(header.status().message());
}

TEST(Safetensors, ReadsBackWhatWasLaidOut) {
  std::vector<SafetensorsEntry> tensors = {{"b", DType::kBF16, {3}, 0, 6},
                                           {"a \"quoted\"", DType::kBF16, {2, 2}, 0, 8},
                                           {"wide", DType::kF32, {}, 0, 4},
                                           {"empty", DType::kU8, {0, 7}, 0, 0}};
  std::string file = LayOutSafetensors(&tensors, {{"format", "pt"}});
  EXPECT_EQ(file.size() % 8, 0u);
  file += std::string(18, 'x');
  ASSERT_OK_AND_ASSIGN(const SafetensorsHeader header, ReadSafetensors(file, "m"));
  EXPECT_EQ(header.metadata.at("format"), "pt");
  ASSERT_EQ(header.tensors.size(), 4u);
  EXPECT_EQ(header.tensors[0].name, "wide");  // Wide elements first, so all are aligned.
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(header.tensors[i].name, tensors[i].name);
    EXPECT_EQ(header.tensors[i].dtype, tensors[i].dtype);
    EXPECT_EQ(header.tensors[i].shape, tensors[i].shape);
    EXPECT_EQ(header.tensors[i].offset, tensors[i].offset);
    EXPECT_EQ(header.tensors[i].size, tensors[i].size);
  }
}

TEST(Safetensors, ATruncatedFileIsNamedAsSuch) {
  std::vector<SafetensorsEntry> tensors = {{"a", DType::kF32, {16}, 0, 64}};
  const std::string file = LayOutSafetensors(&tensors, {}) + std::string(64, 'x');
  ASSERT_OK(ReadSafetensors(file, "m").status());
  for (size_t size = 0; size < file.size(); ++size) {
    const auto header = ReadSafetensors(std::string_view(file).substr(0, size), "m.safetensors");
    ASSERT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument) << size;
    ASSERT_THAT(std::string(header.status().message()), HasSubstr("m.safetensors: ")) << size;
  }
  EXPECT_THAT(ReadSafetensors(file.substr(0, file.size() - 8), "m.safetensors"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr(StrCat("tensor \"a\" ends at ", file.size(), ", the file at ", file.size() - 8,
                                        "; the download is incomplete"))));
  EXPECT_FALSE(ReadSafetensors(file + "x", "m").ok());
}

TEST(Safetensors, RefusesTensorsThatOverlapOrLeaveHoles) {
  EXPECT_THAT(ErrorOf(Entry("a", "U8", "[8]", 0, 8) + "," + Entry("b", "U8", "[8]", 4, 12), 12),
              AllOf(HasSubstr("\"b\" overlaps \"a\"")));
  EXPECT_THAT(ErrorOf(Entry("a", "U8", "[8]", 0, 8) + "," + Entry("b", "U8", "[4]", 10, 14), 14),
              HasSubstr("no tensor names the bytes"));
  EXPECT_THAT(ErrorOf(Entry("a", "U8", "[8]", 0, 8), 9), HasSubstr("its tensors end at"));
  EXPECT_THAT(ErrorOf(Entry("a", "U8", "[8]", 0, 8) + "," + Entry("a", "U8", "[4]", 8, 12), 12),
              HasSubstr("\"a\" is there twice"));
}

TEST(Safetensors, RefusesTensorsThatLieAboutThemselves) {
  EXPECT_THAT(ErrorOf(Entry("a", "F32", "[3]", 0, 8), 8), HasSubstr("has 8 bytes, its type and shape make 12"));
  EXPECT_THAT(ErrorOf(Entry("a", "F32", "[4294967296,4294967296]", 0, 8), 8), HasSubstr("shape is too large"));
  EXPECT_THAT(ErrorOf(Entry("a", "F32", "[-1]", 0, 8), 8), HasSubstr("dimension that is no count"));
  EXPECT_THAT(ErrorOf(Entry("a", "F32", "[18446744073709551615]", 0, 8), 8), HasSubstr("dimension that is no count"));
  EXPECT_THAT(ErrorOf(Entry("a", "F4", "[2]", 0, 1), 1), HasSubstr("\"F4\", which is not supported"));
  EXPECT_THAT(ErrorOf(Entry("a", "U8", "[8]", 8, 0), 8), HasSubstr("ends before it begins"));
  EXPECT_THAT(ErrorOf(Entry("a", "U8", "[8]", 18446744073709551600u, 18446744073709551608u), 8), HasSubstr("ends at"));
  EXPECT_THAT(ErrorOf("\"a\":{\"dtype\":\"U8\",\"shape\":[0]}", 0), HasSubstr("lacks"));
  EXPECT_THAT(ErrorOf("\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0,0]}", 0), HasSubstr("two counts"));
  EXPECT_THAT(ErrorOf("\"__metadata__\":{\"a\":1}", 0), HasSubstr("metadata \"a\" is no string"));
}

TEST(Safetensors, RefusesHeadersThatAreNone) {
  EXPECT_THAT(ReadSafetensors(std::string(8, '\xff') + "{}", "m"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is it a safetensors file?")));
  EXPECT_THAT(ReadSafetensors(File("[1]", 0), "m"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no JSON object")));
  EXPECT_THAT(ReadSafetensors(File("{\"a\":", 0), "m"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no valid JSON")));
  EXPECT_OK(ReadSafetensors(File("{}", 0), "m").status());
}

}  // namespace
}  // namespace editd::formats
