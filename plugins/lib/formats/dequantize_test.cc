#include "plugins/lib/formats/dequantize.h"

#include <chrono>
#include <cstring>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

struct Golden {
  GgmlType type;
  std::string blocks;
  std::vector<float> values;
};

// Made by tests/golden/make_gguf.py with the Python package `gguf`.
std::vector<Golden> ReadGoldens() {
  const std::string file = *ReadWholeFile(EDITD_SOURCE_DIR "/tests/golden/gguf_blocks.bin");
  std::vector<Golden> goldens;
  for (size_t at = 0; at < file.size();) {
    uint32_t type, count;
    std::memcpy(&type, file.data() + at, 4);
    std::memcpy(&count, file.data() + at + 4, 4);
    at += 8;
    const GgmlTypeTraits& traits = *FindGgmlType(type);
    Golden golden{traits.type, file.substr(at, size_t{count} * traits.bytes), std::vector<float>(count * traits.block)};
    at += golden.blocks.size();
    std::memcpy(golden.values.data(), file.data() + at, golden.values.size() * 4);
    at += golden.values.size() * 4;
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

TEST(Dequantize, EveryTypeIsBitEqualToThePythonPackage) {
  const std::vector<Golden> goldens = ReadGoldens();
  EXPECT_EQ(goldens.size(), 12u);
  for (const Golden& golden : goldens) {
    std::vector<float> values(golden.values.size());
    Dequantize(golden.type, golden.blocks.data(), values.size(), values.data());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(golden.values[i]))
          << TraitsOf(golden.type).name << " element " << i << ": " << values[i] << " for " << golden.values[i];
    }
  }
}

TEST(Dequantize, EachElementAloneIsTheSame) {
  for (const Golden& golden : ReadGoldens()) {
    for (size_t i = 0; i < golden.values.size(); ++i) {
      const float value = DequantizeElement(golden.type, golden.blocks.data(), i);
      ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(golden.values[i]))
          << TraitsOf(golden.type).name << " element " << i << ": " << value << " for " << golden.values[i];
    }
  }
}

TEST(Dequantize, UnalignedBlocksAreFine) {
  for (const Golden& golden : ReadGoldens()) {
    const std::string shifted = "x" + golden.blocks;
    std::vector<float> values(golden.values.size());
    Dequantize(golden.type, shifted.data() + 1, values.size(), values.data());
    EXPECT_EQ(std::memcmp(values.data(), golden.values.data(), values.size() * 4), 0) << TraitsOf(golden.type).name;
  }
}

// Every half, infinities and NaN included: numbers equal, NaN stays NaN.
TEST(Dequantize, EveryHalf) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> values(halves.size());
  Dequantize(GgmlType::kF16, halves.data(), halves.size(), values.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    const float expected = DequantizeElement(GgmlType::kF16, halves.data(), i);
    ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(expected)) << i;
  }
}

// Prints what each type decodes a second on one core: formats_test --gtest_also_run_disabled_tests
// --gtest_filter=*Speed
TEST(Dequantize, DISABLED_Speed) {
  constexpr uint64_t kElements = 1 << 20;
  std::vector<float> out(kElements);
  for (const Golden& golden : ReadGoldens()) {
    const GgmlTypeTraits& traits = TraitsOf(golden.type);
    const std::string in(kElements / traits.block * traits.bytes, '\x11');
    double best = 1e9;
    for (int round = 0; round < 20; ++round) {
      const auto start = std::chrono::steady_clock::now();
      Dequantize(golden.type, in.data(), kElements, out.data());
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::printf("%-5s %6.2f GB/s of floats\n", std::string(traits.name).c_str(), kElements * 4 / best / 1e9);
  }
}

}  // namespace
}  // namespace editd::formats
