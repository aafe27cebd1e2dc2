#include "plugins/lib/nn/block_gemm.h"

#include <utility>

namespace editd::nn {
namespace {

// Rows that are turned at once: what has to be converted first stays in the first-level cache until then.
constexpr int64_t kRowsAtOnce = 8;

}  // namespace

WeightMatrix::WeightMatrix(std::vector<TensorView> sources) : sources_(std::move(sources)) {
  for (const TensorView& source : sources_) columns_ += source.shape[0];
  depth_ = sources_[0].shape[1];
}

template <typename F>
void WeightMatrix::ForEachPart(int64_t first, int64_t count, F&& f) const {
  int64_t begin = 0;
  for (const TensorView& source : sources_) {
    const int64_t from = std::max(first, begin), to = std::min(first + count, begin + source.shape[0]);
    if (from < to) f(source, from - begin, to - from, from - first);
    begin += source.shape[0];
  }
}

void WeightMatrix::Pack(Compute compute, int64_t block, Buffer* scratch, void* packed) const {
  const KernelTable& kernels = Kernels();
  const int64_t units = depth_ * BytesOf(compute) / 4;
  uint32_t* const out = static_cast<uint32_t*>(packed);
  ForEachPart(block * kBlockColumns, block_columns(block),
              [&](const TensorView& source, int64_t first, int64_t count, int64_t column) {
                const Stored stored = StoredAs(source.dtype);
                const int64_t bytes = depth_ * BytesOf(stored);
                const char* const from = static_cast<const char*>(source.data) + first * bytes;
                if (stored == (compute == Compute::kF32 ? Stored::kF32 : Stored::kBF16)) {
                  kernels.transpose_units(from, count, units, kBlockColumns, out + column);
                  return;
                }
                scratch->Reserve(kRowsAtOnce * depth_ * sizeof(float));
                float* const wide = scratch->As<float>();
                for (int64_t i = 0; i < count; i += kRowsAtOnce) {
                  const int64_t rows = std::min(kRowsAtOnce, count - i);
                  kernels.widen(stored, from + i * bytes, rows * depth_, wide);
                  // In place: what is written is never ahead of what is read.
                  if (compute == Compute::kBF16) kernels.convert(wide, 1.0f, rows * depth_, compute, wide);
                  kernels.transpose_units(wide, rows, units, kBlockColumns, out + column + i);
                }
              });
}

void WeightMatrix::Multiply(BlockGemm gemm, Compute compute, const void* packed, int64_t m, const void* x, int64_t ldx,
                            float* y, int64_t ldy, bool add) const {
  for (int64_t i = 0; i < blocks(); ++i) {
    gemm(m, block_columns(i), depth_, x, ldx, block(compute, packed, i), kBlockColumns, y + i * kBlockColumns, ldy,
         add);
  }
}

void WeightMatrix::Arrange(Compute compute, int64_t m, const void* x, Buffer* arranged) const {
  arranged->Reserve(2 * m * ((depth_ + 31) / 32 * 32) * sizeof(float));
  Kernels().arrange(compute, x, m, depth_, arranged->As<float>());
}

void WeightMatrix::MultiplyRows(Compute compute, int64_t first, int64_t count, int64_t m, const Buffer& arranged,
                                float* y, int64_t ldy) const {
  ForEachPart(first, count, [&](const TensorView& source, int64_t row, int64_t rows, int64_t column) {
    const Stored stored = StoredAs(source.dtype);
    Kernels().dot(stored, compute, static_cast<const char*>(source.data) + row * depth_ * BytesOf(stored), rows, depth_,
                  arranged.As<float>(), m, y + column, ldy);
  });
}

}  // namespace editd::nn
