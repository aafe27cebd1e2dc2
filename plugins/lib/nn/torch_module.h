// nn_torch.so: what of the decoder needs libtorch, loaded when a job runs. The plugin itself links no libtorch, so that
// it can be described and its specs checked in milliseconds.
//
// It lies in the folder above the plugin's. All of these: FAILED_PRECONDITION if it cannot be loaded. Thread-safe.
#ifndef EDITD_PLUGINS_LIB_NN_TORCH_MODULE_H_
#define EDITD_PLUGINS_LIB_NN_TORCH_MODULE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "plugins/lib/nn/device.h"
#include "plugins/lib/nn/kernels.h"

namespace editd::nn {

// libtorch's products on the processor. Null if it lacks what they need.
absl::StatusOr<BlockGemm> LoadTorchProducts(Compute compute);

// What CUDA's libraries and driver may take of the host's memory: a generous guess, never measured.
inline constexpr uint64_t kCudaHostMemory = uint64_t{4} << 30;

// FAILED_PRECONDITION says what CUDA lacks here: NVIDIA's driver, a device, libtorch's library for it.
absl::Status CheckCuda();
// The same, and loads that library.
absl::StatusOr<std::unique_ptr<Device>> LoadCudaDevice();

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_TORCH_MODULE_H_
