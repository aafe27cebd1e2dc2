#include "plugins/adapter/nf4.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "plugins/lib/formats/convert.h"
#include "storage/base/status.h"

namespace editd::adapter {
namespace {

constexpr uint64_t kBlock = 64, kOuterBlock = 256;
constexpr float kLeast = 1e-38f;  // A block of zeros is divided by this.

// The index of the nearest value; in the middle the lower one.
template <size_t N>
size_t NearestOf(const std::array<float, N>& bounds, float x) {
  return static_cast<size_t>(std::lower_bound(bounds.begin(), bounds.end(), x) - bounds.begin());
}

template <size_t N>
std::array<float, N - 1> Bounds(const std::array<float, N>& values) {
  std::array<float, N - 1> bounds;
  for (size_t i = 0; i + 1 < N; ++i) bounds[i] = (values[i] + values[i + 1]) / 2;
  return bounds;
}

// torch.linspace(0.1, 1, count): from both ends to the middle.
float Linspace(int count, int i) {
  const float step = (1.0f - 0.1f) / static_cast<float>(count - 1);
  return i < count / 2 ? 0.1f + step * static_cast<float>(i) : 1.0f - step * static_cast<float>(count - i - 1);
}

float Rounded(float value, DType dtype) {
  if (dtype == DType::kBF16) return BFloat16ToFloat(FloatToBFloat16(value));
  return dtype == DType::kF16 ? HalfToFloat(FloatToHalf(value)) : value;
}

}  // namespace

const std::array<float, 16> kNf4 = {-1.0f,
                                    -0.6961928009986877f,
                                    -0.5250730514526367f,
                                    -0.39491748809814453f,
                                    -0.28444138169288635f,
                                    -0.18477343022823334f,
                                    -0.09105003625154495f,
                                    0.0f,
                                    0.07958029955625534f,
                                    0.16093020141124725f,
                                    0.24611230194568634f,
                                    0.33791524171829224f,
                                    0.44070982933044434f,
                                    0.5626170039176941f,
                                    0.7229568362236023f,
                                    1.0f};

// Seven ranges of a decade each, the largest with 64 steps for each sign, the next with 32, and so on; 0 and 1.
const std::array<float, 256>& DynamicMap() {
  static const std::array<float, 256> map = [] {
    std::array<float, 256> values = {};
    size_t used = 0;
    double decade = 1e-6;
    for (int i = 0; i < 7; ++i) {
      const int count = (1 << i) + 1;
      decade = std::pow(10.0, i - 6);
      for (int k = 0; k + 1 < count; ++k) {
        const float mean = (Linspace(count, k) + Linspace(count, k + 1)) / 2;
        values[used++] = static_cast<float>(decade) * mean;
        values[used++] = -(static_cast<float>(decade) * mean);
      }
    }
    values[used++] = 0;
    values[used++] = 1;
    std::sort(values.begin(), values.end());
    return values;
  }();
  return map;
}

std::vector<float> DoubleQuantised(std::span<const float> magnitudes) {
  static const std::array<float, 255> bounds = Bounds(DynamicMap());
  double sum = 0;
  for (const float magnitude : magnitudes) sum += static_cast<double>(magnitude);
  const auto mean = static_cast<float>(sum / static_cast<double>(std::max<size_t>(1, magnitudes.size())));
  std::vector<float> out(magnitudes.size());
  for (size_t first = 0; first < out.size(); first += kOuterBlock) {
    const size_t end = std::min(out.size(), first + kOuterBlock);
    float largest = 0;
    for (size_t i = first; i < end; ++i) largest = std::max(largest, std::fabs(magnitudes[i] - mean));
    const float inverse = 1.0f / std::max(largest, kLeast);
    for (size_t i = first; i < end; ++i) {
      const float scaled = std::clamp((magnitudes[i] - mean) * inverse, -1.0f, 1.0f);
      out[i] = DynamicMap()[NearestOf(bounds, scaled)] * largest + mean;
    }
  }
  return out;
}

absl::StatusOr<Matrix> ThroughNf4(Job& job, const Matrix& matrix, DType dtype) {
  struct Block {
    float inverse, magnitude;
  };
  const uint64_t elements = matrix.rows * matrix.columns;
  auto blocks = std::make_shared<std::vector<Block>>((elements + kBlock - 1) / kBlock);
  std::vector<float> magnitudes(blocks->size());
  // A tile's rows are a multiple of 64, so that no block lies in two of them.
  RETURN_IF_ERROR(ForEachTile(
      job, matrix.rows, matrix.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * matrix.columns);
        matrix.fill(tile->first, tile->count, tile->values.data());
        const uint64_t first = tile->first * matrix.columns;
        for (size_t i = 0; i < tile->values.size(); ++i) {
          float& largest = magnitudes[(first + i) / kBlock];
          largest = std::max(largest, std::fabs(tile->values[i]));
        }
      },
      [](Tile&) { return absl::OkStatus(); }));
  const std::vector<float> back = DoubleQuantised(magnitudes);
  for (size_t i = 0; i < back.size(); ++i) (*blocks)[i] = {1.0f / std::max(magnitudes[i], kLeast), back[i]};
  Matrix out{matrix.rows, matrix.columns, nullptr};
  out.fill = [=](uint64_t first_row, uint64_t count, float* to) {
    static const std::array<float, 15> bounds = Bounds(kNf4);
    matrix.fill(first_row, count, to);
    const uint64_t first = first_row * matrix.columns;
    for (uint64_t i = 0; i < count * matrix.columns; ++i) {
      const Block& block = (*blocks)[(first + i) / kBlock];
      const float scaled = std::clamp(to[i] * block.inverse, -1.0f, 1.0f);
      size_t code = 0;
      for (const float bound : bounds) code += bound < scaled;
      to[i] = Rounded(kNf4[code] * block.magnitude, dtype);
    }
  };
  return out;
}

}  // namespace editd::adapter
