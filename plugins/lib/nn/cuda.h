// Whether this machine can compute on CUDA, and libtorch's library for it.
//
// libtorch_cuda.so is not linked: half a gigabyte with NVIDIA's libraries behind it, which most installations lack. It
// is loaded when a job asks for it.
#ifndef EDITD_PLUGINS_LIB_NN_CUDA_H_
#define EDITD_PLUGINS_LIB_NN_CUDA_H_

#include <string>

#include "absl/status/status.h"

namespace editd::nn {

// FAILED_PRECONDITION says what is missing: NVIDIA's driver, or a device.
absl::Status CheckCudaDriver();
// FAILED_PRECONDITION if `folder` has no libtorch_cuda.so.
absl::Status CheckCudaLibrary(const std::string& folder);
// Loads it, for the rest of the process. FAILED_PRECONDITION also if a library that it needs is missing.
absl::Status LoadCudaLibrary(const std::string& folder);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_CUDA_H_
