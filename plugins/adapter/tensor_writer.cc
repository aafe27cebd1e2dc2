#include "plugins/adapter/tensor_writer.h"

#include <cmath>
#include <limits>

#include "plugins/adapter/change.h"
#include "plugins/lib/formats/convert.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

// From this magnitude on a float rounds to infinity.
float Limit(DType dtype) {
  if (dtype == DType::kF16) return 65520.0f;
  return dtype == DType::kBF16 ? 0x1.ffp127f : std::numeric_limits<float>::infinity();
}

}  // namespace

absl::Status TensorWriter::Write(const std::string& name, DType dtype, std::span<const int64_t> shape,
                                 const Matrix& matrix, const Tensor* source) {
  const float limit = Limit(dtype);
  RETURN_IF_ERROR(job_.BeginTensor(name, DTypeName(dtype), shape));
  ++tensors_;
  const auto not_finite = [&](const Tile& tile, size_t at) {
    const uint64_t row = tile.first + at / matrix.columns, column = at % matrix.columns;
    std::string was;
    if (source != nullptr) {
      const Matrix before = AsMatrix(*source);
      std::vector<float> values(matrix.columns);
      before.fill(row, 1, values.data());
      was = StrCat("; in \"", source->name, "\" of the base it is ", values[column]);
    }
    return job_.Refuse(StrCat("tensor \"", name, "\": element [", row, ", ", column, "] becomes ", tile.values[at],
                              ", which ", DTypeName(dtype), " cannot hold", was,
                              "; look at the adapters' values and weights"));
  };
  return ForEachTile(
      job_, matrix.rows, matrix.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * matrix.columns);
        tile->bytes.resize(tile->values.size() * DTypeBytes(dtype));
        matrix.fill(tile->first, tile->count, tile->values.data());
        formats::FromFloats(tile->values.data(), tile->values.size(), dtype, tile->bytes.data());
        tile->bad = -1;
        for (size_t i = 0; i < tile->values.size(); ++i) {
          if (std::fabs(tile->values[i]) < limit) continue;
          tile->bad = static_cast<int64_t>(i);
          break;
        }
      },
      [&](Tile& tile) {
        if (tile.bad >= 0) return not_finite(tile, static_cast<size_t>(tile.bad));
        RETURN_IF_ERROR(job_.Write(tile.bytes.data(), tile.bytes.size()));
        if (source != nullptr && source->shape.size() == 2) {
          const uint64_t row_bytes = source->size / static_cast<uint64_t>(source->shape[0]);
          job_.Release(source->bytes().substr(tile.first * row_bytes, tile.count * row_bytes));
        }
        written_ += tile.bytes.size();
        job_.Progress("tensors", written_, total_, "bytes");
        return absl::OkStatus();
      });
}

}  // namespace editd::adapter
