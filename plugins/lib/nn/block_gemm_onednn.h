// block_gemm.h by oneDNN, through libtorch. The only part of nn that links libtorch.
#ifndef EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_ONEDNN_H_
#define EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_ONEDNN_H_

#include "plugins/lib/nn/kernels.h"

namespace editd::nn {

// Null if this processor lacks what oneDNN's kernels need.
BlockGemm OneDnnBlockGemm(Compute compute);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_BLOCK_GEMM_ONEDNN_H_
