#include "plugins/lib/nn/block_gemm_onednn.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <exception>

namespace editd::nn {
namespace {

template <typename T>
void OneDnn(int64_t m, int64_t n, int64_t k, const void* a, int64_t lda, const void* b, int64_t ldb, float* c,
            int64_t ldc, bool add) {
  at::native::cpublas::brgemm(m, n, k, lda, ldb, ldc, add, static_cast<const T*>(a), static_cast<const T*>(b), c,
                              /*is_vnni=*/sizeof(T) == 2);
}

// libtorch has no question "can you?"; it throws where it cannot.
template <typename T>
BlockGemm IfItWorks() {
  try {
    alignas(64) T a[32] = {}, b[32 * 16] = {};
    alignas(64) float c[16] = {};
    for (T& x : a) x = 1.0f;
    for (T& x : b) x = 1.0f;
    OneDnn<T>(1, 16, 32, a, 32, b, 16, c, 16, false);
    return std::all_of(c, c + 16, [](float x) { return x == 32.0f; }) ? OneDnn<T> : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace

BlockGemm OneDnnBlockGemm(Compute compute) {
  if (compute == Compute::kF32) {
    static const BlockGemm gemm = IfItWorks<float>();
    return gemm;
  }
  static const BlockGemm gemm = IfItWorks<at::BFloat16>();
  return gemm;
}

}  // namespace editd::nn
