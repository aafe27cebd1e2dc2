#include "plugins/lib/nn/weights.h"

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
  const Stored stored = StoredAs(tensor.dtype);
  Kernels().widen(stored, static_cast<const char*>(tensor.data) + first * BytesOf(stored), count, out);
}

std::vector<float> ReadAllFloats(const TensorView& tensor) {
  int64_t count = 1;
  for (int64_t size : tensor.shape) count *= size;
  std::vector<float> out(count);
  ReadFloats(tensor, 0, count, out.data());
  return out;
}

}  // namespace editd::nn
