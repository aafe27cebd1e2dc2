// Differences between two versions' tensors: which are the same by content, and by how much the others differ.
//
// Tensors are the same if their ids are: nothing is read. What changed but kept its shape is read from both packs
// through descriptors (transfer socket), tile by tile, so that memory is bounded by a tile; sums are kept in double
// precision.
#ifndef EDITD_CLIENT_TENSOR_DIFF_H_
#define EDITD_CLIENT_TENSOR_DIFF_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "client/transfer.h"
#include "editd/v1/model.pb.h"
#include "storage/base/dtype.h"
#include "storage/base/status.h"

namespace editd::client {

// How far apart two tensors of equal shape are.
struct Norms {
  double difference = 0;  // Frobenius norm of b - a.
  double base = 0;        // Of a.
  double max_abs = 0;     // Largest |b - a|.
  uint64_t changed = 0;   // Elements that differ in value.
};

struct TensorChange {
  enum class Kind { kChanged, kReshaped, kAdded, kRemoved, kMoved };
  Kind kind;
  const v1::Tensor* a;  // Null if added.
  const v1::Tensor* b;  // Null if removed.
  std::optional<Norms> norms;
};

struct TensorDiff {
  uint64_t same = 0;
  std::vector<TensorChange> changes;  // In b's order, then what was removed.
};

// By ids alone; norms are not set. The versions must outlive the result. A tensor that has gone from one name and is
// there under another has moved.
TensorDiff CompareTensors(const v1::Version& a, const v1::Version& b);

// Reads what kChanged needs and sets its norms, on several threads.
absl::Status ComputeNorms(Transfer* transfer, TensorDiff* diff);

// `a` and `b` have `elements` each, any alignment. Types may differ.
Norms NormsOfDifference(DType a_type, const char* a, DType b_type, const char* b, uint64_t elements);

}  // namespace editd::client

#endif  // EDITD_CLIENT_TENSOR_DIFF_H_
