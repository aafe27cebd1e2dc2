// Finds NaN and infinity in raw tensor bytes, at the speed of memory.
#ifndef EDITD_STORAGE_BASE_FINITE_H_
#define EDITD_STORAGE_BASE_FINITE_H_

#include <cstddef>
#include <optional>

#include "storage/base/dtype.h"

namespace editd {

// The index of the first element of `data` that is not finite. Integers always are. `data` needs no alignment; it has
// whole elements.
std::optional<size_t> FindNonFinite(DType dtype, const char* data, size_t bytes);

// True if the element at `data` is NaN; false: infinity (or finite).
bool IsNan(DType dtype, const char* data);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_FINITE_H_
