#include "plugins/lib/nn/cuda.h"

#include <dlfcn.h>
#include <unistd.h>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

constexpr char kInstall[] = "; run deploy/bootstrap cuda and build again";

std::string LibraryIn(const std::string& folder) { return folder + "/libtorch_cuda.so"; }

}  // namespace

// The driver's own interface: a few calls that have not changed since CUDA 2.
absl::Status CheckCudaDriver() {
  void* const driver = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (driver == nullptr) {
    return absl::FailedPreconditionError(StrCat("CUDA: this machine has no NVIDIA driver: ", ::dlerror()));
  }
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(driver, "cuInit"));
  const auto count_of = reinterpret_cast<int (*)(int*)>(::dlsym(driver, "cuDeviceGetCount"));
  if (init == nullptr || count_of == nullptr) {
    return absl::FailedPreconditionError("CUDA: libcuda.so.1 is no NVIDIA driver");
  }
  int count = 0;
  if (const int error = init(0); error != 0) {
    return absl::FailedPreconditionError(StrCat("CUDA: NVIDIA's driver does not start: error ", error));
  }
  if (const int error = count_of(&count); error != 0 || count == 0) {
    return absl::FailedPreconditionError("CUDA: the driver has no device that this job may use");
  }
  return absl::OkStatus();
}

absl::Status CheckCudaLibrary(const std::string& folder) {
  if (::access(LibraryIn(folder).c_str(), R_OK) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat("CUDA: libtorch's part for it is not in ", folder, kInstall));
}

absl::Status LoadCudaLibrary(const std::string& folder) {
  RETURN_IF_ERROR(CheckCudaLibrary(folder));
  // Global: its own modules look for its symbols.
  if (::dlopen(LibraryIn(folder).c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat("CUDA: libtorch's part for it cannot be loaded: ", ::dlerror(), kInstall));
}

}  // namespace editd::nn
