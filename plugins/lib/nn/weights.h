// Weights as they lie in memory: named tensors, read-only, mapped by whoever owns them.
//
// The decoder keeps no copy of a matrix: the bytes must stay where they are as long as it lives.
#ifndef EDITD_PLUGINS_LIB_NN_WEIGHTS_H_
#define EDITD_PLUGINS_LIB_NN_WEIGHTS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/nn/kernels.h"
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
};

// Of a type that RequireTensor lets through.
inline Stored StoredAs(DType dtype) {
  return dtype == DType::kF32 ? Stored::kF32 : dtype == DType::kBF16 ? Stored::kBF16 : Stored::kF16;
}

// The tensor `name`, F32, F16 or BF16, of exactly `shape`. Errors name the tensor.
absl::StatusOr<TensorView> RequireTensor(const WeightSource& source, const std::string& name,
                                         const std::vector<int64_t>& shape);

// Elements [first, first + count) of a tensor as floats.
void ReadFloats(const TensorView& tensor, int64_t first, int64_t count, float* out);
std::vector<float> ReadAllFloats(const TensorView& tensor);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_WEIGHTS_H_
