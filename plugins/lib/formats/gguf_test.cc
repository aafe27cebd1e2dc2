#include "plugins/lib/formats/gguf.h"

#include "plugins/lib/formats/gguf_testing.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ErrorOf(const std::string& file) {
  const auto gguf = ReadGguf(file, "m.gguf");
  EXPECT_EQ(gguf.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(gguf.status().message());
}

GgufWriter Small() {
  GgufWriter writer;
  writer.U32("n", 7).F32("f", 0.5f).Bool("b", true).String("s", "text").Strings("a", {"x", "", "yz"});
  writer.Integers("i", {-1, 5}).Value("w", GgufType::kI8, "\xfe");
  writer.Floats("t", {2, 3}, {1, 2, 3, 4, 5, 6}).Tensor("q", 8, {2, 32}, std::string(68, '\1'));
  return writer;
}

TEST(Gguf, ReadsValuesAndTensors) {
  for (const uint32_t version : {2u, 3u}) {
    const std::string file = Small().Build(version);
    ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(file, "m.gguf"));
    EXPECT_EQ(gguf.version, version);
    EXPECT_EQ(gguf.Integer("n"), 7);
    EXPECT_EQ(gguf.Integer("w"), -2);
    EXPECT_EQ(gguf.Number("f"), 0.5);
    EXPECT_EQ(gguf.Number("n"), 7.0);
    EXPECT_EQ(gguf.Bool("b"), true);
    EXPECT_EQ(gguf.String("s"), "text");
    EXPECT_EQ(gguf.String("n"), std::nullopt);
    EXPECT_EQ(gguf.Integer("absent"), std::nullopt);
    EXPECT_THAT(gguf.Array("a", GgufType::kString)->strings, ElementsAre("x", "", "yz"));
    EXPECT_EQ(IntegerAt(*gguf.Array("i", GgufType::kI32), 0), -1);
    ASSERT_EQ(gguf.tensors.size(), 2u);
    EXPECT_EQ(gguf.tensors[0].name, "t");
    EXPECT_THAT(gguf.tensors[0].shape, ElementsAre(2, 3));
    EXPECT_EQ(gguf.tensors[0].bytes.size(), 24u);
    EXPECT_EQ(gguf.tensors[1].type, GgmlType::kQ8_0);
    EXPECT_EQ(gguf.tensors[1].bytes, std::string(68, '\1'));
  }
}

TEST(Gguf, ATruncatedFileIsAnErrorAtEveryLength) {
  const std::string file = Small().Build();
  for (size_t size = 0; size < file.size(); ++size) {
    ASSERT_THAT(ErrorOf(file.substr(0, size)), HasSubstr("m.gguf: ")) << size;
  }
  EXPECT_THAT(ErrorOf(file.substr(0, file.size() - 1)), HasSubstr("tensor \"q\" has 68 bytes"));
}

TEST(Gguf, RefusesOtherVersions) {
  EXPECT_THAT(ErrorOf(Small().Build(1)), HasSubstr("is GGUF version 1; versions 2 and 3 are supported"));
  EXPECT_THAT(ErrorOf(Small().Build(0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(ErrorOf("GGML1234"), HasSubstr("is it a GGUF file?"));
}

TEST(Gguf, RefusesCountsThatTheFileCannotHold) {
  const auto head = [](uint64_t tensors, uint64_t keys) {
    return "GGUF" + GgufWriter::Raw<uint32_t>(3) + GgufWriter::Raw(tensors) + GgufWriter::Raw(keys);
  };
  EXPECT_THAT(ErrorOf(head(~0ull, 0)), HasSubstr("more than the 1048576 allowed"));
  EXPECT_THAT(ErrorOf(head(1000, 0)), HasSubstr("1000 tensors, but ends at 24"));
  EXPECT_THAT(ErrorOf(head(0, 1000)), HasSubstr("1000 keys, but ends at 24"));
  const auto array = [](GgufType element, uint64_t count) {
    return GgufWriter().Value("a", GgufType::kArray,
                              GgufWriter::Raw(static_cast<uint32_t>(element)) + GgufWriter::Raw(count));
  };
  EXPECT_THAT(ErrorOf(array(GgufType::kString, 1ull << 60).Build()), HasSubstr("elements, but the file ends"));
  EXPECT_THAT(ErrorOf(array(GgufType::kU64, 1ull << 61).Build()), HasSubstr("elements, but the file ends"));
  EXPECT_THAT(ErrorOf(array(GgufType::kArray, 1).Build()), HasSubstr("array of arrays"));
  EXPECT_THAT(ErrorOf(array(static_cast<GgufType>(99), 1).Build()), HasSubstr("value type 99"));
  EXPECT_THAT(ErrorOf(GgufWriter().Value("s", GgufType::kString, GgufWriter::Raw(~0ull)).Build()),
              HasSubstr("the file ends at"));
}

TEST(Gguf, RefusesTensorsThatLie) {
  const std::string bytes(64, '\1');
  const auto one = [&](uint32_t type, std::vector<int64_t> shape, int64_t offset = -1) {
    return ErrorOf(GgufWriter().Tensor("t", type, shape, bytes, offset).Build());
  };
  EXPECT_THAT(one(0, {1, 1, 1, 1, 1}), HasSubstr("5 dimensions"));
  EXPECT_THAT(one(0, {1ll << 40, 1ll << 40}), HasSubstr("2^63 elements"));
  EXPECT_THAT(one(0, {1ll << 62}), HasSubstr("2^63 bytes"));
  EXPECT_THAT(one(0, {0}), HasSubstr("dimension of 0"));
  EXPECT_THAT(one(0, {17}), HasSubstr("has 68 bytes"));
  EXPECT_THAT(one(8, {33}), HasSubstr("rows of 33 elements, but Q8_0 packs 32"));
  EXPECT_THAT(one(4, {32}), HasSubstr("element type 4, which is not supported"));
  EXPECT_THAT(one(0, {16}, 8), HasSubstr("no multiple of 32"));
  EXPECT_THAT(one(0, {16}, 1ll << 62), HasSubstr("data offset"));
  GgufWriter overlap;
  overlap.Tensor("a", 0, {16}, bytes).Tensor("b", 0, {16}, bytes, 32);
  EXPECT_THAT(ErrorOf(overlap.Build()), HasSubstr("\"b\" overlaps \"a\""));
  GgufWriter twice;
  twice.Tensor("a", 0, {16}, bytes).Tensor("a", 0, {16}, bytes);
  EXPECT_THAT(ErrorOf(twice.Build()), HasSubstr("\"a\" is there twice"));
}

TEST(Gguf, RefusesAlignmentsAndKeysThatAreNone) {
  EXPECT_THAT(ErrorOf(GgufWriter().U32("general.alignment", 24).Build()), HasSubstr("power of two"));
  EXPECT_THAT(ErrorOf(GgufWriter().U32("general.alignment", 0).Build()), HasSubstr("power of two"));
  EXPECT_THAT(ErrorOf(GgufWriter().U32("k", 1).U32("k", 2).Build()), HasSubstr("\"k\" is there twice"));
}

}  // namespace
}  // namespace editd::formats
