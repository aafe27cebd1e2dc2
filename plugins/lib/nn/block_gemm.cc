#include "plugins/lib/nn/block_gemm.h"

#include <algorithm>

#include "plugins/lib/nn/parallel.h"

namespace editd::nn {
void PackedMatrix::PackBlock(Compute compute, const TensorView& source, std::span<const int64_t> rows, Buffer* scratch,
                             uint32_t* out) {
  const int64_t depth = source.shape[1];
  const int64_t units = depth * BytesOf(compute) / 4;
  const KernelTable& kernels = Kernels();
  scratch->Reserve((rows.size() * units + depth) * 4);
  uint32_t* const gathered = scratch->As<uint32_t>();
  float* const row = scratch->As<float>() + rows.size() * units;
  for (size_t i = 0; i < rows.size(); ++i) {
    uint32_t* const to = gathered + i * units;
    const bool same = (source.dtype == DType::kF32) == (compute == Compute::kF32) && source.dtype != DType::kF16;
    if (rows[i] < 0) {
      std::fill(to, to + units, 0);
    } else if (same) {
      const char* const from = static_cast<const char*>(source.data) + rows[i] * units * 4;
      std::copy(from, from + units * 4, reinterpret_cast<char*>(to));
    } else if (source.dtype == DType::kF32) {
      kernels.convert(static_cast<const float*>(source.data) + rows[i] * depth, 1.0f, depth, compute, to);
    } else {
      ReadFloats(source, rows[i] * depth, depth, row);
      kernels.convert(row, 1.0f, depth, compute, to);
    }
  }
  kernels.transpose_units(gathered, rows.size(), units, kBlockColumns, out);
}

PackedMatrix::PackedMatrix(Compute compute, const std::vector<TensorView>& sources, int threads)
    : depth_(sources[0].shape[1]), units_(depth_ * BytesOf(compute) / 4) {
  struct Row {
    const TensorView* source;
    int64_t row;
  };
  std::vector<Row> all;
  for (const TensorView& source : sources) {
    for (int64_t r = 0; r < source.shape[0]; ++r) all.push_back({&source, r});
  }
  columns_ = all.size();
  data_.Reserve(blocks() * units_ * kBlockColumns * 4);
  std::vector<Buffer> scratch(blocks());
  ForEach(threads, blocks(), [&](int64_t block) {
    // A block that spans two matrices is packed once from each; the later one leaves the earlier columns alone.
    const int64_t first = block * kBlockColumns;
    uint32_t* const out = data_.As<uint32_t>() + block * units_ * kBlockColumns;
    Buffer part;
    for (int64_t i = 0; i < block_columns(block);) {
      const TensorView* source = all[first + i].source;
      std::vector<int64_t> rows;
      const int64_t begin = i;
      for (; i < block_columns(block) && all[first + i].source == source; ++i) rows.push_back(all[first + i].row);
      if (begin == 0) {
        PackBlock(compute, *source, rows, &scratch[block], out);
        continue;
      }
      part.Reserve(units_ * kBlockColumns * 4);
      PackBlock(compute, *source, rows, &scratch[block], part.As<uint32_t>());
      for (int64_t u = 0; u < units_; ++u) {
        const uint32_t* const from = part.As<uint32_t>() + u * kBlockColumns;
        std::copy(from, from + rows.size(), out + u * kBlockColumns + begin);
      }
    }
    scratch[block] = Buffer();
  });
}

void PackedMatrix::Multiply(BlockGemm gemm, int64_t m, const void* x, int64_t ldx, float* y, int64_t ldy,
                            bool add) const {
  for (int64_t i = 0; i < blocks(); ++i) {
    gemm(m, block_columns(i), depth_, x, ldx, block(i), kBlockColumns, y + i * kBlockColumns, ldy, add);
  }
}

}  // namespace editd::nn
