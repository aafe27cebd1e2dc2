#include "plugins/trim/rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "storage/base/dtype.h"
#include "storage/base/strings.h"

namespace editd::trim {
namespace {

constexpr uint64_t kTile = 4 << 20;  // Bytes of input that stay mapped at a time.

// Adds a row of `count` elements to `sums`.
void AddRow(DType type, const char* row, size_t count, double* sums) {
  switch (type) {
    case DType::kF32:
      for (size_t i = 0; i < count; ++i) {
        float value;
        std::memcpy(&value, row + 4 * i, 4);
        sums[i] += static_cast<double>(value);
      }
      return;
    case DType::kBF16:
    case DType::kF16:
      for (size_t i = 0; i < count; ++i) {
        uint16_t bits;
        std::memcpy(&bits, row + 2 * i, 2);
        sums[i] += static_cast<double>(type == DType::kBF16 ? BFloat16ToFloat(bits) : HalfToFloat(bits));
      }
      return;
    default:
      for (size_t i = 0; i < count; ++i) {  // F64; no other type passes the check in GatherRows.
        double value;
        std::memcpy(&value, row + 8 * i, 8);
        sums[i] += value;
      }
  }
}

std::vector<char> MeanRow(DType type, const std::vector<double>& sums, double count) {
  std::vector<char> row(sums.size() * DTypeBytes(type));
  for (size_t i = 0; i < sums.size(); ++i) {
    const double mean = sums[i] / count;
    if (type == DType::kF64) {
      std::memcpy(&row[8 * i], &mean, 8);
    } else if (type == DType::kF32) {
      const float value = static_cast<float>(mean);
      std::memcpy(&row[4 * i], &value, 4);
    } else {
      const float value = static_cast<float>(mean);
      const uint16_t bits = type == DType::kBF16 ? FloatToBFloat16(value) : FloatToHalf(value);
      std::memcpy(&row[2 * i], &bits, 2);
    }
  }
  return row;
}

}  // namespace

bool IsVocabularyTensor(std::string_view name) {
  for (const std::string_view end : {"embed_tokens.weight", "lm_head.weight", "lm_head.bias", "wte.weight"}) {
    if (name == end) return true;
    if (name.size() > end.size() && name.substr(name.size() - end.size()) == end &&
        name[name.size() - end.size() - 1] == '.') {
      return true;
    }
  }
  return false;
}

absl::Status GatherRows(Job& job, const Tensor& tensor, const IdMap& map, int64_t kept, int64_t rows) {
  const std::optional<DType> type = DTypeFromName(tensor.dtype);
  if (!type || (*type != DType::kF32 && *type != DType::kBF16 && *type != DType::kF16 && *type != DType::kF64)) {
    return absl::InvalidArgumentError(
        StrCat("tensor \"", tensor.name, "\" is ", tensor.dtype,
               "; rows of F64, F32, F16 and BF16 can be trimmed; import it as one of these"));
  }
  const uint64_t old_rows = static_cast<uint64_t>(tensor.shape[0]);
  const uint64_t row_bytes = tensor.size / old_rows;
  std::vector<int64_t> shape(tensor.shape.begin(), tensor.shape.end());
  shape[0] = rows;
  RETURN_IF_ERROR(job.BeginTensor(tensor.name, tensor.dtype, shape));

  std::vector<double> sums(row_bytes / DTypeBytes(*type));
  const uint64_t tile_rows = std::max<uint64_t>(1, kTile / row_bytes);
  const uint64_t ids = std::min<uint64_t>(map.size(), old_rows);
  for (uint64_t tile = 0; tile < ids; tile += tile_rows) {
    RETURN_IF_ERROR(job.CheckStop());
    const uint64_t end = std::min(ids, tile + tile_rows);
    for (uint64_t first = tile; first < end;) {  // A run of rows that stay is written at once.
      if (map[first] < 0) {
        ++first;
        continue;
      }
      uint64_t last = first;
      for (; last < end && map[last] >= 0; ++last)
        AddRow(*type, tensor.data + last * row_bytes, sums.size(), sums.data());
      RETURN_IF_ERROR(job.Write(tensor.data + first * row_bytes, (last - first) * row_bytes));
      first = last;
    }
    job.Release({tensor.data + tile * row_bytes, (end - tile) * row_bytes});
    job.Progress(StrCat("gather ", tensor.name), end * row_bytes, ids * row_bytes, "bytes");
  }
  const std::vector<char> mean = MeanRow(*type, sums, static_cast<double>(kept));
  for (int64_t row = kept; row < rows; ++row) RETURN_IF_ERROR(job.Write(mean.data(), mean.size()));
  return absl::OkStatus();
}

}  // namespace editd::trim
