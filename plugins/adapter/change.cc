#include "plugins/adapter/change.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>

#include "plugins/lib/formats/convert.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::adapter {
namespace {

constexpr size_t kLanes = 16;

// The sum of squares in sixteen lanes of double, added in pairs at the end.
double SumOfSquares(const float* x, size_t count) {
  std::array<double, kLanes> lanes = {};
  for (size_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(x[i]);
    lanes[i % kLanes] += value * value;
  }
  for (size_t half = kLanes / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

// V: the base's rows, the saved tensor's, or both and the training base's, with the adapter's own rows in place.
RowFill FillStart(const Change& change, const Matrix& base) {
  RowFill start = base.fill;
  if (change.saved != nullptr) {
    const Matrix saved = AsMatrix(change.adapter->tensor(change.saved->tensor));
    start = saved.fill;
    if (change.trained != nullptr) {
      const Matrix trained = AsMatrix(*change.trained);
      const uint64_t columns = base.columns;
      start = [=, base = base.fill](uint64_t first, uint64_t count, float* out) {
        std::vector<float> other(count * columns);
        saved.fill(first, count, out);
        trained.fill(first, count, other.data());
        for (size_t i = 0; i < other.size(); ++i) out[i] -= other[i];
        base(first, count, other.data());
        for (size_t i = 0; i < other.size(); ++i) out[i] += other[i];
      };
    }
  }
  if (change.rows == nullptr) return start;
  const std::vector<int64_t>& ids = *formats::TokenIdsOf(change.adapter->config, change.rows->module);
  auto row_of = std::make_shared<std::map<uint64_t, uint64_t>>();
  for (size_t i = 0; i < ids.size(); ++i) (*row_of)[static_cast<uint64_t>(ids[i])] = i;
  const Matrix own = AsMatrix(change.adapter->tensor(change.rows->tensor));
  return [=](uint64_t first, uint64_t count, float* out) {
    start(first, count, out);
    for (auto it = row_of->lower_bound(first); it != row_of->end() && it->first < first + count; ++it) {
      own.fill(it->second, 1, out + (it->first - first) * own.columns);
    }
  };
}

// V': V and the low-rank change.
RowFill FillSum(const Change& change, const Matrix& base) {
  const RowFill start = FillStart(change, base);
  if (change.module == nullptr) return start;
  const Matrix low_rank = LowRank(change);
  return [=](uint64_t first, uint64_t count, float* out) {
    std::vector<float> other(count * low_rank.columns);
    low_rank.fill(first, count, other.data());
    start(first, count, out);
    for (size_t i = 0; i < other.size(); ++i) out[i] += other[i];
  };
}

// magnitude / length for each column of `sum`.
absl::StatusOr<std::shared_ptr<std::vector<float>>> ColumnFactors(Job& job, const Matrix& sum, const float* magnitude) {
  std::vector<double> squares(sum.columns);
  RETURN_IF_ERROR(ForEachTile(
      job, sum.rows, sum.columns,
      [&](Tile* tile) {
        tile->values.resize(tile->count * sum.columns);
        sum.fill(tile->first, tile->count, tile->values.data());
        tile->bytes.assign(sum.columns * sizeof(double), 0);
        auto* own = reinterpret_cast<double*>(tile->bytes.data());
        for (size_t i = 0; i < tile->values.size(); ++i) {
          const auto value = static_cast<double>(tile->values[i]);
          own[i % sum.columns] += value * value;
        }
      },
      [&](Tile& tile) {
        const auto* own = reinterpret_cast<const double*>(tile.bytes.data());
        for (size_t j = 0; j < squares.size(); ++j) squares[j] += own[j];
        return absl::OkStatus();
      }));
  auto factors = std::make_shared<std::vector<float>>(sum.columns);
  for (size_t j = 0; j < squares.size(); ++j) {
    (*factors)[j] = magnitude[j] / static_cast<float>(std::sqrt(squares[j]));
  }
  return factors;
}

}  // namespace

Adapter OpenAdapter(const Model& model, bool configuration, std::vector<std::string>* problems) {
  Adapter out;
  out.model = &model;
  for (const Tensor& tensor : model.tensors) {
    out.tensors.push_back({tensor.name, {tensor.shape.begin(), tensor.shape.end()}});
  }
  std::vector<std::string> found;
  out.layout = formats::LayOutAdapter(out.tensors, &found);
  if (configuration) {
    const File* file = model.FindFile(formats::kAdapterConfig);
    if (file == nullptr) {
      found.push_back("has no adapter_config.json");
    } else if (auto config = formats::ReadAdapterConfig(file->content, formats::kAdapterConfig); !config.ok()) {
      found.push_back(std::string(ToStd(config.status().message())));
    } else {
      out.config = *std::move(config);
      formats::CheckAdapterConfig(out.config, out.tensors, out.layout, &found);
    }
  } else {
    out.config.fan_in_fan_out = model.Attribute("adapter.fan_in_fan_out") == "true";
  }
  for (const std::string& problem : found) problems->push_back(StrCat("\"", model.name, "\": ", problem));
  return out;
}

std::string_view LayerName(std::string_view tensor) {
  const std::string_view module = tensor.substr(0, tensor.rfind('.'));
  const size_t dot = module.rfind('.');
  return dot == std::string_view::npos ? module : module.substr(dot + 1);
}

bool IsEmbeddingName(std::string_view tensor) {
  for (const char* embedding : {"embed_tokens", "wte", "wpe", "word_embeddings", "embed_in"}) {
    if (LayerName(tensor) == embedding) return true;
  }
  return false;
}

std::vector<int64_t> ShapeInBase(const formats::LoraModule& module, bool transposed) {
  if (transposed) return {module.inputs, module.outputs};
  return {module.outputs, module.inputs};
}

Matrix AsMatrix(const Tensor& tensor) {
  Matrix out;
  out.columns = tensor.shape.empty() ? 1 : static_cast<uint64_t>(tensor.shape.back());
  uint64_t elements = 1;
  for (const int64_t dimension : tensor.shape) elements *= static_cast<uint64_t>(dimension);
  out.rows = out.columns == 0 ? 0 : elements / out.columns;
  const DType dtype = *DTypeFromName(tensor.dtype);
  const char* data = tensor.data;
  const uint64_t columns = out.columns;
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    formats::ToFloats(dtype, data + first * columns * DTypeBytes(dtype), count * columns, to);
  };
  return out;
}

std::shared_ptr<const float> AsFloats(const Tensor& tensor) {
  if (tensor.dtype == "F32") return {reinterpret_cast<const float*>(tensor.data), [](const float*) {}};
  const DType dtype = *DTypeFromName(tensor.dtype);
  const uint64_t count = tensor.size / DTypeBytes(dtype);
  std::shared_ptr<float[]> copy(new float[count]);
  formats::ToFloats(dtype, tensor.data, count, copy.get());
  return {copy, copy.get()};
}

Matrix LowRank(const Change& change) {
  const formats::LoraModule& module = *change.module;
  const auto rank = static_cast<uint64_t>(module.rank), inputs = static_cast<uint64_t>(module.inputs),
             outputs = static_cast<uint64_t>(module.outputs);
  const std::shared_ptr<const float> a = AsFloats(change.adapter->tensor(module.a));
  const std::shared_ptr<const float> b = AsFloats(change.adapter->tensor(module.b));
  const auto scale = static_cast<float>(formats::ScaleOf(change.adapter->config, module.module).scale);
  Matrix out;
  std::shared_ptr<const float> left = b, right = a;
  MatrixView view{b.get(), static_cast<ptrdiff_t>(rank), 1};
  out.rows = outputs;
  out.columns = inputs;
  if (change.transposed) {
    std::shared_ptr<float[]> copy(new float[rank * outputs]);  // B's transpose.
    for (uint64_t i = 0; i < outputs; ++i) {
      for (uint64_t k = 0; k < rank; ++k) copy[k * outputs + i] = b.get()[i * rank + k];
    }
    left = a;
    right = std::shared_ptr<const float>(copy, copy.get());
    view = {a.get(), 1, static_cast<ptrdiff_t>(inputs)};
    out.rows = inputs;
    out.columns = outputs;
  }
  const uint64_t columns = out.columns;
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    std::memset(to, 0, count * columns * sizeof(float));
    MatrixView rows = view;
    rows.data += static_cast<ptrdiff_t>(first) * view.row_step;
    (void)left;  // Kept for the view.
    MultiplyAdd(rows, right.get(), static_cast<ptrdiff_t>(columns), count, rank, columns, to,
                static_cast<ptrdiff_t>(columns));
    for (uint64_t i = 0; i < count * columns; ++i) to[i] *= scale;
  };
  return out;
}

absl::StatusOr<Matrix> Changed(Job& job, const Change& change, const Matrix& base) {
  Matrix sum{base.rows, base.columns, FillSum(change, base)};
  if (change.module == nullptr || change.module->magnitude < 0) return sum;
  const std::shared_ptr<const float> magnitude =
      AsFloats(change.adapter->tensor(static_cast<size_t>(change.module->magnitude)));
  Matrix out{base.rows, base.columns, nullptr};
  if (change.transposed) {
    ASSIGN_OR_RETURN(const auto factors, ColumnFactors(job, sum, magnitude.get()));
    out.fill = [=](uint64_t first, uint64_t count, float* to) {
      sum.fill(first, count, to);
      for (uint64_t i = 0; i < count * sum.columns; ++i) to[i] *= (*factors)[i % sum.columns];
    };
    return out;
  }
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    sum.fill(first, count, to);
    for (uint64_t i = 0; i < count; ++i) {
      float* row = to + i * sum.columns;
      const auto length = static_cast<float>(std::sqrt(SumOfSquares(row, sum.columns)));
      const float factor = magnitude.get()[first + i] / length;
      for (uint64_t j = 0; j < sum.columns; ++j) row[j] *= factor;
    }
  };
  return out;
}

absl::StatusOr<Matrix> Difference(Job& job, const Change& change, const Matrix& base) {
  if (change.plain()) return LowRank(change);
  ASSIGN_OR_RETURN(const Matrix changed, Changed(job, change, base));
  Matrix out{base.rows, base.columns, nullptr};
  out.fill = [=](uint64_t first, uint64_t count, float* to) {
    std::vector<float> own(count * base.columns);
    base.fill(first, count, own.data());
    changed.fill(first, count, to);
    for (size_t i = 0; i < own.size(); ++i) to[i] -= own[i];
  };
  return out;
}

}  // namespace editd::adapter
