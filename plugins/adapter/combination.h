// Several changes of one tensor become one: sum, TIES, DARE, magnitude pruning, with the conventions of PEFT's
// add_weighted_adapter.
//
//   SUM              sum of w_i d_i
//   MAGNITUDE_PRUNE  sum of w_i top(d_i)         top keeps the floor(density x n) largest magnitudes of the tensor
//   DARE_LINEAR      sum of w_i drop(d_i)        drop keeps each element with probability density, divided by it
//   TIES, DARE_TIES  s = sign of the sum of what was kept (TOTAL) or of its signs (FREQUENCY), zero counts as plus;
//                    sum of w_i x those that have the sign s, divided by their number (by 1 if there is none)
//
// Of equal magnitudes at the threshold the first in row-major order stay. Random elements come from a counter
// (plugins/lib/kernels/random.h): the same for any number of threads.
//
// The matrices may be filled from several threads; thresholds are found now, in passes over the changes.
#ifndef EDITD_PLUGINS_ADAPTER_COMBINATION_H_
#define EDITD_PLUGINS_ADAPTER_COMBINATION_H_

#include <span>
#include <string_view>
#include <vector>

#include "editd/plugins/adapter/v1/adapter.pb.h"
#include "plugins/adapter/tiles.h"

namespace editd::adapter {

namespace v1 = editd::plugins::adapter::v1;

struct Weighted {
  Matrix matrix;
  double weight = 1;
  uint32_t stream = 0;  // Tells random numbers of the adapters apart: the adapter's place among the inputs.
};

// All matrices have the same shape. `name` is the tensor's, for random numbers.
absl::StatusOr<Matrix> Combined(Job& job, const v1::Combination& how, std::vector<Weighted> changes,
                                std::string_view name);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_COMBINATION_H_
