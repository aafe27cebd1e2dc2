// What diff computes: norms, moved tensors, JSON keys, tokenizers.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <random>

#include "client/file_diff.h"
#include "client/tensor_diff.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

using ::testing::ElementsAre;
using Kind = TensorChange::Kind;

v1::Tensor MakeTensor(const std::string& name, const std::string& id, std::vector<int64_t> shape) {
  v1::Tensor tensor;
  tensor.set_name(name);
  tensor.set_id(id);
  tensor.set_dtype("F32");
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  return tensor;
}

TEST(CompareTensors, EachKind) {
  v1::Version a;
  *a.add_tensors() = MakeTensor("same", "1", {2});
  *a.add_tensors() = MakeTensor("changed", "2", {2});
  *a.add_tensors() = MakeTensor("reshaped", "3", {2});
  *a.add_tensors() = MakeTensor("layers.8.w", "4", {2});
  *a.add_tensors() = MakeTensor("gone", "5", {2});
  v1::Version b;
  *b.add_tensors() = MakeTensor("same", "1", {2});
  *b.add_tensors() = MakeTensor("changed", "22", {2});
  *b.add_tensors() = MakeTensor("reshaped", "33", {1});
  *b.add_tensors() = MakeTensor("layers.4.w", "4", {2});
  *b.add_tensors() = MakeTensor("copy", "1", {2});  // Its source is still there: added, not moved.
  const TensorDiff diff = CompareTensors(a, b);
  EXPECT_EQ(diff.same, 1u);
  std::vector<std::pair<Kind, std::string>> changes;
  for (const TensorChange& change : diff.changes) {
    changes.emplace_back(change.kind, (change.b != nullptr ? change.b : change.a)->name());
  }
  EXPECT_THAT(changes, ElementsAre(std::pair(Kind::kChanged, "changed"), std::pair(Kind::kReshaped, "reshaped"),
                                   std::pair(Kind::kMoved, "layers.4.w"), std::pair(Kind::kAdded, "copy"),
                                   std::pair(Kind::kRemoved, "gone")));
  EXPECT_EQ(diff.changes[2].a->name(), "layers.8.w");
}

TEST(Norms, AreThoseOfTheDefinition) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const size_t count = 100'003;  // No multiple of the tile.
  std::vector<float> a(count);
  std::vector<uint16_t> b(count);
  long double difference = 0;
  long double base = 0;
  for (size_t i = 0; i < count; ++i) {
    a[i] = normal(random);
    b[i] = FloatToBFloat16(a[i]);
    const long double delta = static_cast<long double>(BFloat16ToFloat(b[i])) - a[i];
    difference += delta * delta;
    base += static_cast<long double>(a[i]) * a[i];
  }
  const Norms norms = NormsOfDifference(DType::kF32, reinterpret_cast<const char*>(a.data()), DType::kBF16,
                                        reinterpret_cast<const char*>(b.data()), count);
  EXPECT_NEAR(norms.difference, static_cast<double>(std::sqrt(difference)), 1e-9);
  EXPECT_NEAR(norms.base, static_cast<double>(std::sqrt(base)), 1e-9);
  EXPECT_GT(norms.changed, count / 2);
}

// One value in each type: 1.5 and 2, or 1 and 3 where there are no fractions.
TEST(Norms, EveryTypeIsRead) {
  const auto check = [](DType type, auto one, auto two, double expected) {
    const Norms norms =
        NormsOfDifference(type, reinterpret_cast<const char*>(&one), type, reinterpret_cast<const char*>(&two), 1);
    EXPECT_EQ(norms.difference, expected) << DTypeName(type);
    EXPECT_EQ(norms.max_abs, expected) << DTypeName(type);
  };
  check(DType::kF64, 1.5, 2.0, 0.5);
  check(DType::kF32, 1.5f, 2.0f, 0.5);
  check(DType::kF16, FloatToHalf(1.5f), FloatToHalf(2), 0.5);
  check(DType::kBF16, FloatToBFloat16(1.5f), FloatToBFloat16(2), 0.5);
  check(DType::kI64, int64_t{1}, int64_t{-3}, 4);
  check(DType::kI32, int32_t{1}, int32_t{-3}, 4);
  check(DType::kI16, int16_t{1}, int16_t{-3}, 4);
  check(DType::kI8, int8_t{1}, int8_t{-3}, 4);
  check(DType::kU64, uint64_t{1}, uint64_t{3}, 2);
  check(DType::kU32, uint32_t{1}, uint32_t{3}, 2);
  check(DType::kU16, uint16_t{1}, uint16_t{3}, 2);
  check(DType::kU8, uint8_t{1}, uint8_t{3}, 2);
  check(DType::kBool, uint8_t{0}, uint8_t{1}, 1);
  check(DType::kF8E4M3, uint8_t{0x3c}, uint8_t{0x40}, 0.5);     // 1.5, 2
  check(DType::kF8E4M3, uint8_t{0x01}, uint8_t{0x00}, 0x1p-9);  // The least subnormal.
  check(DType::kF8E4M3, uint8_t{0x7e}, uint8_t{0xfe}, 896);     // 448 and -448, the largest.
  check(DType::kF8E5M2, uint8_t{0x3e}, uint8_t{0x40}, 0.5);     // 1.5, 2
}

TEST(CompareJson, NestedKeysBothWays) {
  ASSERT_OK_AND_ASSIGN(const std::vector<KeyChange> changes,
                       CompareJson("config.json", R"({"vocab_size":49152,"rope":{"theta":1e4,"type":"x"},"old":[1,2]})",
                                   R"({"vocab_size":24576,"rope":{"theta":1e4,"type":"y"},"new":null})"));
  std::vector<std::string> lines;
  for (const KeyChange& change : changes) lines.push_back(StrCat(change.key, " ", change.a, " -> ", change.b));
  EXPECT_THAT(lines,
              ElementsAre("new  -> null", "old [1,2] -> ", "rope.type \"x\" -> \"y\"", "vocab_size 49152 -> 24576"));
  EXPECT_THAT(CompareJson("config.json", "{}", "{"),
              StatusIs(absl::StatusCode::kInvalidArgument, testing::HasSubstr("config.json")));
}

TEST(CompareTokenizers, CountsAndSamples) {
  ASSERT_OK_AND_ASSIGN(
      const TokenizerDiff diff,
      CompareTokenizers(
          R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"c":3},"merges":["a b"]},"added_tokens":[{"id":4,"content":"<s>"}]})",
          R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[],"dropout":0.1},"added_tokens":[{"id":2,"content":"<s>"},{"id":3,"content":"<t>"}]})"));
  EXPECT_EQ(diff.tokens_a, 5u);
  EXPECT_EQ(diff.tokens_b, 4u);
  EXPECT_EQ(diff.merges_a, 1u);
  EXPECT_EQ(diff.merges_b, 0u);
  EXPECT_THAT(diff.removed_samples, ElementsAre("ab", "c"));
  EXPECT_THAT(diff.added_samples, ElementsAre("<t>"));
  EXPECT_EQ(diff.renumbered, 1u);
  ASSERT_EQ(diff.settings.size(), 1u);
  EXPECT_EQ(diff.settings[0].key, "model.dropout");
}

TEST(CompareTokenizers, ATokenThatIsAddedToOneCountsOnce) {
  const std::string with =
      R"({"model":{"vocab":{"a":0,"<s>":1,"<t>":2}},"added_tokens":[{"id":1,"content":"<s>"},{"id":2,"content":"<t>"}]})";
  const std::string without = R"({"model":{"vocab":{"a":0,"<t>":7}},"added_tokens":[{"id":1,"content":"<t>"}]})";
  ASSERT_OK_AND_ASSIGN(TokenizerDiff diff, CompareTokenizers(with, without));
  EXPECT_EQ(diff.tokens_a, 3u);
  EXPECT_EQ(diff.tokens_b, 2u);
  EXPECT_EQ(diff.removed, 1u);
  EXPECT_THAT(diff.removed_samples, ElementsAre("<s>"));
  EXPECT_EQ(diff.added, 0u);
  EXPECT_EQ(diff.renumbered, 1u);  // The added token's id counts: 2 and 1.
  ASSERT_OK_AND_ASSIGN(diff, CompareTokenizers(without, with));
  EXPECT_EQ(diff.added, 1u);
  EXPECT_THAT(diff.added_samples, ElementsAre("<s>"));
  EXPECT_EQ(diff.removed, 0u);
  EXPECT_EQ(diff.tokens_a, 2u);
  EXPECT_EQ(diff.tokens_b, 3u);
}

// Behind a mapped file's last page there may be nothing, and before that other memory.
TEST(CompareTokenizers, NothingIsReadBehindTheLastPage) {
  const std::string text = R"({"model":{"vocab":{"a":0,"b":1}}})";
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  void* const memory = ::mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  char* const end = static_cast<char*>(memory) + page;
  ASSERT_EQ(::mprotect(end, page, PROT_NONE), 0);
  for (size_t room = 0; room < 100; ++room) {
    std::memset(memory, '1', page);
    std::memcpy(end - room - text.size(), text.data(), text.size());
    ASSERT_OK_AND_ASSIGN(const TokenizerDiff diff, CompareTokenizers({end - room - text.size(), text.size()}, text));
    EXPECT_EQ(diff.tokens_a, 2u);
    EXPECT_EQ(diff.added + diff.removed + diff.renumbered, 0u);
  }
  ::munmap(memory, 2 * page);
}

}  // namespace
}  // namespace editd::client
