// The matrix products of libtorch, loaded when a job runs: the plugin itself links no libtorch, so that it can be
// described and its specs checked in milliseconds.
#ifndef EDITD_PLUGINS_LIB_NN_TORCH_PRODUCTS_H_
#define EDITD_PLUGINS_LIB_NN_TORCH_PRODUCTS_H_

#include "absl/status/statusor.h"
#include "plugins/lib/nn/kernels.h"

namespace editd::nn {

// Loads nn_torch.so, which lies in the folder above the plugin's. Null if this processor lacks what the products
// need. FAILED_PRECONDITION if it cannot be loaded.
absl::StatusOr<BlockGemm> LoadTorchProducts(Compute compute);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_TORCH_PRODUCTS_H_
