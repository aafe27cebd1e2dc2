// Tensors on their way from a mapped source into a job's output, a tile at a time.
//
// A tile is a few MiB of finished elements. One thread fills tiles in order (decode, reorder, convert), checks a sample
// of each against the source by another way of computing, and tells the host which source pages are done with; the
// calling thread hands the tiles to the host, which hashes and writes them. So memory is a handful of tiles, whatever
// the model's size.
//
// Threads: Run returns when both are done. A source's functions are called from the filling thread alone.
#ifndef EDITD_PLUGINS_IMPORT_TILE_STREAM_H_
#define EDITD_PLUGINS_IMPORT_TILE_STREAM_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "editd/plugin.hpp"
#include "storage/base/dtype.h"

namespace editd::importer {

// A tensor to write.
struct TensorSource {
  std::string name;
  std::vector<int64_t> shape;
  DType dtype;  // To write.
  uint64_t elements = 0;
  std::string_view bytes;  // Where it comes from.

  // Empty functions: `bytes` is the tensor as it is to be written. Else fill decodes elements [first, first + count)
  // to floats; both are multiples of `step`, and they become `dtype`, which is F32, F16 or BF16.
  uint64_t step = 1;
  std::function<void(uint64_t first, uint64_t count, float* out)> fill;
  // One element by the definition of its format: what a sample of each tile is compared with.
  std::function<float(uint64_t element)> reference;
  // True: elements come from `bytes` in order, so that what was read can be let go tile by tile.
  bool in_order = true;

  uint64_t size() const { return elements * DTypeBytes(dtype); }  // Bytes to write.
};

// Writes the tensors in order. Stops with CANCELLED if the job shall stop or once `abandoned` is true; refuses the
// output if a sample is wrong.
absl::Status WriteTensors(const std::vector<TensorSource>& tensors, Job& job, const std::atomic<bool>& abandoned);

}  // namespace editd::importer

#endif  // EDITD_PLUGINS_IMPORT_TILE_STREAM_H_
