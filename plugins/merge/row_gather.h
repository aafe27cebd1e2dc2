// RowGather: an embedding or a head whose rows are put in another order while they are read. Nothing is copied before.
//
// Immutable; read by any thread.
#ifndef EDITD_PLUGINS_MERGE_ROW_GATHER_H_
#define EDITD_PLUGINS_MERGE_ROW_GATHER_H_

#include <cstdint>
#include <vector>

#include "storage/base/dtype.h"

namespace editd::merge {

// A row of one model's tensor.
struct RowOf {
  uint32_t model = 0;  // Among the job's inputs.
  int32_t row = -1;
};

// One model's rows for the result's tokens.
struct RowMap {
  // For each of the result's rows the model's own, or -(n + 1): the mean of lists[n]; an empty list is zeros.
  std::vector<int32_t> rows;
  std::vector<std::vector<RowOf>> lists;
};

struct RowGather {
  struct Table {
    DType type = DType::kF32;
    const char* data = nullptr;  // Null: the model lacks the tensor.
    int64_t rows = 0;
  };
  const RowMap* map = nullptr;
  size_t own = 0;             // The model, among the tables.
  std::vector<Table> tables;  // By input.
  int64_t columns = 1;

  // `n` elements from `begin` on of the tensor in the result's order, as float32.
  void Load(int64_t begin, size_t n, float* out) const;
};

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_ROW_GATHER_H_
