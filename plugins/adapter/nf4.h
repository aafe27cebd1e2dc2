// NF4 with double quantisation, as bitsandbytes has it: what a matrix is after it was rounded to four bits and taken
// back.
//
// The elements of the whole tensor in row-major order are cut into blocks of 64. A block's elements are divided by its
// largest magnitude and rounded to the nearest of sixteen values. The blocks' magnitudes, less their mean, are rounded
// the same way to the nearest of 256 values, by blocks of 256. (QLoRA, Dettmers et al. 2023.) The mean is summed in
// double here, in float32 there, so a magnitude in a few thousand may take the neighbouring value.
//
// Functions of their arguments; the magnitudes are found by tiles, with the job's threads.
#ifndef EDITD_PLUGINS_ADAPTER_NF4_H_
#define EDITD_PLUGINS_ADAPTER_NF4_H_

#include <array>
#include <span>

#include "plugins/adapter/tiles.h"
#include "storage/base/dtype.h"

namespace editd::adapter {

// The sixteen values.
extern const std::array<float, 16> kNf4;
// The 256 values of the magnitudes, "dynamic" in bitsandbytes.
const std::array<float, 256>& DynamicMap();

// The magnitudes as they come back; `magnitudes` has one for each block of 64.
std::vector<float> DoubleQuantised(std::span<const float> magnitudes);

// `matrix` rounded to NF4, taken back and rounded to `dtype`, as a matrix of floats. Reads `matrix` once now, and again
// whenever it is filled.
absl::StatusOr<Matrix> ThroughNf4(Job& job, const Matrix& matrix, DType dtype);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_NF4_H_
