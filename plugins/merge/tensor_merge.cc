#include "plugins/merge/tensor_merge.h"

#include <cstring>

namespace editd::merge {

void Source::Load(int64_t begin, size_t n, float* out) const {
  if (gather != nullptr) return gather->Load(begin, n, out);
  const char* at = data + static_cast<size_t>(begin) * DTypeBytes(type);
  switch (type) {
    case DType::kBF16:
      kernels::ForThisMachine().load_bf16(at, n, out);
      return;
    case DType::kF16:
      kernels::ForThisMachine().load_f16(at, n, out);
      return;
    case DType::kF32:
      std::memcpy(out, at, n * sizeof(float));
      return;
    default:  // F64: the plan lets no other type through.
      for (size_t i = 0; i < n; ++i) {
        double value;
        std::memcpy(&value, at + i * sizeof(double), sizeof(double));
        out[i] = static_cast<float>(value);
      }
  }
}

double TreeSum(const double* terms, size_t n, size_t stride) {
  if (n == 0) return 0;
  if (n == 1) return terms[0];
  const size_t half = n / 2;
  return TreeSum(terms, half, stride) + TreeSum(terms + half * stride, n - half, stride);
}

std::unique_ptr<TensorMerge> MakeTensorMerge(const TensorPlan& plan) {
  if (auto merge = MakeCombination(plan)) return merge;
  if (auto merge = MakeSparse(plan)) return merge;
  return MakeSelective(plan);
}

}  // namespace editd::merge
