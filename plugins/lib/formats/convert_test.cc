#include "plugins/lib/formats/convert.h"

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "storage/base/testing.h"

namespace editd::formats {
namespace {

TEST(Convert, EveryKindOfFloatRoundsAsTheSingleElementDoes) {
  std::vector<float> in;
  std::mt19937 random(7);
  for (int i = 0; i < 200000; ++i) in.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  for (uint32_t half = 0; half < 0x7c00; ++half) {  // The edges between neighbouring halves.
    const float middle = (HalfToFloat(half) + HalfToFloat(half + 1)) / 2;
    for (const float value : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e9f), -middle}) {
      in.push_back(value);
    }
  }
  std::vector<uint16_t> half(in.size()), brain(in.size());
  FromFloats(in.data(), in.size(), DType::kF16, half.data());
  FromFloats(in.data(), in.size(), DType::kBF16, brain.data());
  for (size_t i = 0; i < in.size(); ++i) {
    ASSERT_EQ(half[i], FloatToHalf(in[i])) << in[i];
    ASSERT_EQ(brain[i], FloatToBFloat16(in[i])) << in[i];
  }
}

TEST(Convert, NarrowTypesSurviveTheWayThroughFloat) {
  std::vector<uint16_t> in(65536), out(65536);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(i);
  std::vector<float> floats(in.size());
  for (const DType type : {DType::kF16, DType::kBF16}) {
    ToFloats(type, in.data(), in.size(), floats.data());
    FromFloats(floats.data(), floats.size(), type, out.data());
    for (size_t i = 0; i < in.size(); ++i) {
      ASSERT_TRUE(std::isnan(floats[i]) || in[i] == out[i]) << in[i];
    }
  }
}

}  // namespace
}  // namespace editd::formats
