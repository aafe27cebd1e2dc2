// Work on a matrix by tiles of whole rows: threads compute them in any order, and one consumer takes them in order.
//
// The tile's size depends on the matrix alone, never on the number of threads, so what is summed tile by tile has the
// same bits whatever machine it runs on. Memory is a tile for each thread and two more.
//
// A RowFill gives rows of a matrix as float32; it may be called from several threads at once.
#ifndef EDITD_PLUGINS_ADAPTER_TILES_H_
#define EDITD_PLUGINS_ADAPTER_TILES_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "editd/plugin.hpp"

namespace editd::adapter {

// Rows [first, first + count) into `out`, one after the other.
using RowFill = std::function<void(uint64_t first, uint64_t count, float* out)>;

struct Matrix {
  uint64_t rows = 0, columns = 0;
  RowFill fill;
};

// Rows of a tile: about a million elements, and a multiple of 64.
uint64_t TileRows(uint64_t rows, uint64_t columns);

struct Tile {
  uint64_t index = 0, first = 0, count = 0;  // Rows.
  std::vector<float> values;                 // count x columns.
  std::vector<char> bytes;                   // For compute's own results.
  int64_t bad = -1;                          // An element that is wrong, if there is one.
};

// Calls compute for each tile on the job's threads and consume, on the calling thread, for each in order. Stops with an
// error of consume, or CANCELLED.
absl::Status ForEachTile(Job& job, uint64_t rows, uint64_t columns, const std::function<void(Tile*)>& compute,
                         const std::function<absl::Status(Tile&)>& consume);

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_TILES_H_
