// Weights as they lie in memory: named tensors, read-only, mapped by whoever owns them.
//
// The decoder reads each matrix once, into blocks laid out for its multiplications (block_gemm.h), and tells the owner
// that the mapped bytes are not needed any more; only the embedding is read where it lies, row by row.
#ifndef EDITD_PLUGINS_LIB_NN_WEIGHTS_H_
#define EDITD_PLUGINS_LIB_NN_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/dtype.h"

namespace editd::nn {

struct TensorView {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // Row-major.
  const void* data = nullptr;
};

struct WeightSource {
  // The tensor of that name, or nothing.
  std::function<std::optional<TensorView>(std::string_view name)> find;
  // The bytes are not needed soon. May be empty.
  std::function<void(const void* data, size_t size)> release;
};

// The tensor `name`, F32, F16 or BF16, of exactly `shape`. Errors name the tensor.
absl::StatusOr<TensorView> RequireTensor(const WeightSource& source, const std::string& name,
                                         const std::vector<int64_t>& shape);

// Elements [first, first + count) of a tensor as floats.
void ReadFloats(const TensorView& tensor, int64_t first, int64_t count, float* out);
std::vector<float> ReadAllFloats(const TensorView& tensor);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_WEIGHTS_H_
