#include "plugins/merge/row_gather.h"

#include <algorithm>

#include "plugins/merge/tensor_merge.h"

namespace editd::merge {
namespace {

constexpr size_t kPiece = 512;

void LoadRow(const RowGather::Table& table, int64_t at, size_t n, float* out) {
  Source{table.type, table.data, {}}.Load(at, n, out);
}

}  // namespace

void RowGather::Load(int64_t begin, size_t n, float* out) const {
  while (n > 0) {
    const int64_t row = begin / columns, column = begin % columns;
    const size_t count = std::min({n, kPiece, static_cast<size_t>(columns - column)});
    const int32_t own_row = map->rows[static_cast<size_t>(row)];
    if (own_row >= 0) {
      LoadRow(tables[own], own_row * columns + column, count, out);
    } else {
      const std::vector<RowOf>& list = map->lists[static_cast<size_t>(-(own_row + 1))];
      std::fill_n(out, count, 0.0f);
      float piece[kPiece];
      size_t had = 0;
      for (const RowOf& from : list) {
        const Table& table = tables[from.model];
        if (table.data == nullptr) continue;
        LoadRow(table, from.row * columns + column, count, piece);
        ++had;
        for (size_t i = 0; i < count; ++i) out[i] += piece[i];
      }
      for (size_t i = 0; had > 1 && i < count; ++i) out[i] /= static_cast<float>(had);
    }
    out += count;
    begin += static_cast<int64_t>(count);
    n -= count;
  }
}

}  // namespace editd::merge
