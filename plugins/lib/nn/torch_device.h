// device.h by libtorch: the decoder's arithmetic in its operators, on any device that it knows.
//
// The same code serves CUDA and, in tests, the processor. As in decoder.h the residual stream, norms, rotations and
// soft-max are float32, and so are logits. bf16 rounds what enters a product and, other than there, what the products
// within a layer give: that is libtorch's bf16 product. The head's product is in float32 of the bf16 operands (TF32
// holds them exactly). Attention is libtorch's scaled_dot_product_attention where scores have no cap.
//
// Results depend on the batch to within rounding, as libtorch's products do.
#ifndef EDITD_PLUGINS_LIB_NN_TORCH_DEVICE_H_
#define EDITD_PLUGINS_LIB_NN_TORCH_DEVICE_H_

#include <memory>

#include "plugins/lib/nn/device.h"

namespace editd::nn {

enum class DeviceKind : int { kProcessor, kCuda };

// For kCuda: after FindCuda and LoadCudaLibrary (cuda.h).
std::unique_ptr<Device> MakeTorchDevice(DeviceKind kind);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_TORCH_DEVICE_H_
