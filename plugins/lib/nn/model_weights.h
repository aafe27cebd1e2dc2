// A job's input model as the decoder reads it: its tensors and files where they are mapped.
//
// For plugins; the library itself knows no job. The model must outlive what is made of it.
#ifndef EDITD_PLUGINS_LIB_NN_MODEL_WEIGHTS_H_
#define EDITD_PLUGINS_LIB_NN_MODEL_WEIGHTS_H_

#include <optional>
#include <string_view>

#include "editd/plugin.hpp"
#include "plugins/lib/nn/weights.h"
#include "storage/base/dtype.h"

namespace editd::nn {

inline WeightSource WeightsOf(const Model& model) {
  return {[&model](std::string_view name) -> std::optional<TensorView> {
    const Tensor* const tensor = model.FindTensor(name);
    if (tensor == nullptr) return std::nullopt;
    // A type that is no number type of ours is refused like one that is, but not computed with.
    const std::optional<DType> dtype = DTypeFromName(tensor->dtype);
    return TensorView{dtype.value_or(DType::kU8), {tensor->shape.begin(), tensor->shape.end()}, tensor->data};
  }};
}

// A file of the model; empty if it has none.
inline std::string_view ContentOf(const Model& model, std::string_view name) {
  const File* const file = model.FindFile(name);
  return file == nullptr ? std::string_view() : file->content;
}

// What the decoder packs at a time: the matrices of a layer.
inline uint64_t PackedBytes(const Model& model, Compute compute) {
  uint64_t bytes = 0;
  for (const Tensor& tensor : model.tensors) {
    if (tensor.name.find("layers.0.") == std::string_view::npos) continue;
    uint64_t elements = 1;
    for (const int64_t extent : tensor.shape) elements *= static_cast<uint64_t>(extent);
    bytes += elements * BytesOf(compute);
  }
  return bytes;
}

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_MODEL_WEIGHTS_H_
