// nn_torch.so: what of the decoder links libtorch. See torch_products.h.
#include <ATen/Context.h>
#include <dlfcn.h>

#include <filesystem>
#include <memory>

#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/cuda.h"
#include "plugins/lib/nn/torch_device.h"
#include "storage/base/status.h"

namespace editd::nn {
namespace {

// Where libtorch itself was found.
std::string TorchFolder() {
  Dl_info torch = {};
  ::dladdr(reinterpret_cast<const void*>(&at::globalContext), &torch);
  return torch.dli_fname == nullptr ? std::string() : std::filesystem::path(torch.dli_fname).parent_path().string();
}

absl::Status CheckCuda() {
  RETURN_IF_ERROR(CheckCudaDriver());
  return CheckCudaLibrary(TorchFolder());
}

}  // namespace
}  // namespace editd::nn

extern "C" {

__attribute__((visibility("default"))) editd::nn::BlockGemm editd_torch_products(int compute) {
  return editd::nn::OneDnnBlockGemm(static_cast<editd::nn::Compute>(compute));
}

__attribute__((visibility("default"))) void editd_torch_check_cuda(absl::Status* status) {
  *status = editd::nn::CheckCuda();
}

__attribute__((visibility("default"))) editd::nn::Device* editd_torch_cuda(absl::Status* status) {
  *status = editd::nn::CheckCuda();
  if (status->ok()) *status = editd::nn::LoadCudaLibrary(editd::nn::TorchFolder());
  return status->ok() ? editd::nn::MakeTorchDevice(editd::nn::DeviceKind::kCuda).release() : nullptr;
}
}
