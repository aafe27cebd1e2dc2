#include "plugins/lib/nn/torch_products.h"

#include <dlfcn.h>

#include <filesystem>

#include "storage/base/strings.h"

namespace editd::nn {

absl::StatusOr<BlockGemm> LoadTorchProducts(Compute compute) {
  Dl_info here = {};
  if (::dladdr(reinterpret_cast<const void*>(&LoadTorchProducts), &here) == 0 || here.dli_fname == nullptr) {
    return absl::InternalError("libtorch cannot be loaded: the loader does not know where the plugin lies");
  }
  std::error_code ignored;
  const std::filesystem::path plugin = std::filesystem::absolute(here.dli_fname, ignored);
  const std::string path = plugin.parent_path().parent_path() / "nn_torch.so";
  void* const handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return absl::FailedPreconditionError(StrCat("libtorch cannot be loaded: ", ::dlerror()));
  }
  const auto products = reinterpret_cast<BlockGemm (*)(int)>(::dlsym(handle, "editd_torch_products"));
  if (products == nullptr) return absl::FailedPreconditionError(StrCat(path, ": is of another build"));
  return products(static_cast<int>(compute));
}

}  // namespace editd::nn
