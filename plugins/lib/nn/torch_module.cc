#include "plugins/lib/nn/torch_module.h"

#include <dlfcn.h>

#include <filesystem>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::nn {
namespace {

// The function `name` of the module.
template <typename F>
absl::StatusOr<F*> Find(const char* name) {
  Dl_info here = {};
  if (::dladdr(reinterpret_cast<const void*>(&LoadTorchProducts), &here) == 0 || here.dli_fname == nullptr) {
    return absl::InternalError("libtorch cannot be loaded: the loader does not know where the plugin lies");
  }
  std::error_code ignored;
  const std::filesystem::path plugin = std::filesystem::absolute(here.dli_fname, ignored);
  const std::string path = plugin.parent_path().parent_path() / "nn_torch.so";
  void* const module = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    return absl::FailedPreconditionError(StrCat("libtorch cannot be loaded: ", ::dlerror()));
  }
  const auto function = reinterpret_cast<F*>(::dlsym(module, name));
  if (function == nullptr) return absl::FailedPreconditionError(StrCat(path, ": is of another build"));
  return function;
}

}  // namespace

absl::StatusOr<BlockGemm> LoadTorchProducts(Compute compute) {
  ASSIGN_OR_RETURN(const auto products, Find<BlockGemm(int)>("editd_torch_products"));
  return products(static_cast<int>(compute));
}

absl::Status CheckCuda() {
  ASSIGN_OR_RETURN(const auto check, Find<void(absl::Status*)>("editd_torch_check_cuda"));
  absl::Status status;
  check(&status);
  return status;
}

absl::StatusOr<std::unique_ptr<Device>> LoadCudaDevice() {
  ASSIGN_OR_RETURN(const auto load, Find<Device*(absl::Status*)>("editd_torch_cuda"));
  absl::Status status;
  std::unique_ptr<Device> device(load(&status));
  RETURN_IF_ERROR(status);
  return device;
}

}  // namespace editd::nn
