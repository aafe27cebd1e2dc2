#include "plugins/adapter/tiles.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

namespace editd::adapter {
namespace {

constexpr uint64_t kTileElements = 1 << 20;
constexpr uint64_t kRowStep = 64;

// Tiles in flight. `next` is handed out in order; whoever computes a tile waits until it is at most `ahead` before the
// one that the consumer waits for, so finished tiles do not pile up.
struct Flight {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t next = 0, consumed = 0;
  std::map<uint64_t, Tile> done;
  std::vector<Tile> spare;  // For their memory.
  bool stop = false;
};

}  // namespace

uint64_t TileRows(uint64_t rows, uint64_t columns) {
  const uint64_t wanted = std::max<uint64_t>(1, kTileElements / std::max<uint64_t>(1, columns));
  return std::min(std::max<uint64_t>(1, rows), (wanted + kRowStep - 1) / kRowStep * kRowStep);
}

absl::Status ForEachTile(Job& job, uint64_t rows, uint64_t columns, const std::function<void(Tile*)>& compute,
                         const std::function<absl::Status(Tile&)>& consume) {
  const uint64_t step = TileRows(rows, columns), tiles = (rows + step - 1) / step;
  const auto place = [&](uint64_t index, Tile* tile) {
    tile->index = index;
    tile->first = index * step;
    tile->count = std::min(step, rows - tile->first);
  };
  const auto threads = static_cast<unsigned>(std::min<uint64_t>(job.threads(), tiles));
  if (threads <= 1) {
    Tile tile;
    for (uint64_t i = 0; i < tiles; ++i) {
      absl::Status status = job.CheckStop();
      if (!status.ok()) return status;
      place(i, &tile);
      compute(&tile);
      status = consume(tile);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }
  Flight flight;
  const auto work = [&] {
    for (;;) {
      Tile tile;
      uint64_t index;
      {
        std::unique_lock<std::mutex> lock(flight.mutex);
        flight.changed.wait(
            lock, [&] { return flight.stop || flight.next == tiles || flight.next < flight.consumed + threads + 1; });
        if (flight.stop || flight.next == tiles) return;
        index = flight.next++;
        if (!flight.spare.empty()) {
          tile = std::move(flight.spare.back());
          flight.spare.pop_back();
        }
      }
      place(index, &tile);
      compute(&tile);
      std::lock_guard<std::mutex> lock(flight.mutex);
      flight.done.emplace(index, std::move(tile));
      flight.changed.notify_all();
    }
  };
  std::vector<std::thread> pool;
  for (unsigned i = 0; i < threads; ++i) pool.emplace_back(work);
  absl::Status status;
  for (uint64_t i = 0; i < tiles && status.ok(); ++i) {
    Tile tile;
    {
      std::unique_lock<std::mutex> lock(flight.mutex);
      flight.changed.wait(lock, [&] { return flight.done.count(i) != 0; });
      tile = std::move(flight.done.extract(i).mapped());
    }
    status = job.CheckStop();
    if (status.ok()) status = consume(tile);
    std::lock_guard<std::mutex> lock(flight.mutex);
    flight.spare.push_back(std::move(tile));
    flight.consumed = i + 1;
    flight.changed.notify_all();
  }
  {
    std::lock_guard<std::mutex> lock(flight.mutex);
    flight.stop = true;
    flight.changed.notify_all();
  }
  for (std::thread& thread : pool) thread.join();
  return status;
}

}  // namespace editd::adapter
