#include "plugins/lib/nn/weights.h"

#include <cstring>

#include "storage/base/strings.h"

namespace editd::nn {
namespace {

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) StrAppend(&text, i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

}  // namespace

absl::StatusOr<TensorView> RequireTensor(const WeightSource& source, const std::string& name,
                                         const std::vector<int64_t>& shape) {
  std::optional<TensorView> tensor = source.find(name);
  if (!tensor.has_value()) {
    return absl::InvalidArgumentError(StrCat("the model has no tensor \"", name, "\", which its config.json asks for"));
  }
  if (tensor->shape != shape) {
    return absl::InvalidArgumentError(StrCat("tensor \"", name, "\" has shape ", ShapeText(tensor->shape),
                                             "; by config.json it is ", ShapeText(shape)));
  }
  if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16 && tensor->dtype != DType::kBF16) {
    return absl::UnimplementedError(
        StrCat("tensor \"", name, "\" is ", DTypeName(tensor->dtype), "; only F32, F16 and BF16 are computed with"));
  }
  return *std::move(tensor);
}

void ReadFloats(const TensorView& tensor, int64_t first, int64_t count, float* out) {
  if (tensor.dtype == DType::kF32) {
    std::memcpy(out, static_cast<const float*>(tensor.data) + first, count * sizeof(float));
    return;
  }
  const uint16_t* in = static_cast<const uint16_t*>(tensor.data) + first;
  if (tensor.dtype == DType::kBF16) {
    for (int64_t i = 0; i < count; ++i) out[i] = BFloat16ToFloat(in[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) out[i] = HalfToFloat(in[i]);
  }
}

std::vector<float> ReadAllFloats(const TensorView& tensor) {
  int64_t count = 1;
  for (int64_t size : tensor.shape) count *= size;
  std::vector<float> out(count);
  ReadFloats(tensor, 0, count, out.data());
  return out;
}

}  // namespace editd::nn
