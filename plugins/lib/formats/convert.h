// Element types of whole tensors changed, rounding to nearest even once.
#ifndef EDITD_PLUGINS_LIB_FORMATS_CONVERT_H_
#define EDITD_PLUGINS_LIB_FORMATS_CONVERT_H_

#include <cstdint>

#include "storage/base/dtype.h"

namespace editd::formats {

// True for F32, F16 and BF16, between which the functions below convert.
constexpr bool Convertible(DType type) { return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16; }

// `count` elements of `from` (any alignment) as floats. Exact.
void ToFloats(DType from, const void* in, uint64_t count, float* out);

// `count` floats as elements of `to`. What does not fit into F16 becomes infinity; NaN stays NaN.
void FromFloats(const float* in, uint64_t count, DType to, void* out);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_CONVERT_H_
