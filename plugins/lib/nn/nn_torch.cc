// nn_torch.so: what of the decoder links libtorch. See torch_products.h.
#include "plugins/lib/nn/block_gemm_onednn.h"

extern "C" __attribute__((visibility("default"))) editd::nn::BlockGemm editd_torch_products(int compute) {
  return editd::nn::OneDnnBlockGemm(static_cast<editd::nn::Compute>(compute));
}
