#include "plugins/import/tile_stream.h"

#include <algorithm>
#include <bit>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "plugins/lib/formats/convert.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::importer {
namespace {

constexpr uint64_t kTileElements = 1 << 20;
constexpr uint64_t kCopyBytes = 4 << 20;
constexpr size_t kTiles = 4;  // In memory at once.
constexpr int kSamples = 64;  // Of a tile.

// Finished elements of a tensor, or a part of its source as it is.
struct Tile {
  const TensorSource* tensor = nullptr;
  uint64_t first = 0, count = 0;  // Elements; bytes if the source is taken as it is.
  std::vector<char> own;
  std::string_view bytes;
  absl::Status status;
};

// Cuts the tensors into tiles.
class Cutter {
 public:
  explicit Cutter(const std::vector<TensorSource>& tensors) : tensors_(tensors) {}

  // False at the end. A tensor without elements is one tile without any.
  bool Next(Tile* tile) {
    if (tensor_ == tensors_.size()) return false;
    const TensorSource& tensor = tensors_[tensor_];
    const bool copied = !tensor.fill;
    const uint64_t total = copied ? tensor.bytes.size() : tensor.elements;
    const uint64_t steps = std::max<uint64_t>(1, kTileElements / tensor.step);
    tile->tensor = &tensor;
    tile->first = at_;
    tile->count = std::min(total - at_, copied ? kCopyBytes : steps * tensor.step);
    at_ += tile->count;
    if (at_ == total) {
      at_ = 0;
      ++tensor_;
    }
    return true;
  }

 private:
  const std::vector<TensorSource>& tensors_;
  size_t tensor_ = 0;
  uint64_t at_ = 0;
};

// The bits of one element, by the conversion of single elements.
uint32_t ElementBits(float value, DType dtype) {
  if (dtype == DType::kF32) return std::bit_cast<uint32_t>(value);
  return dtype == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value);
}

class Stream {
 public:
  Stream(const std::vector<TensorSource>& tensors, Job& job, const std::atomic<bool>& abandoned)
      : tensors_(tensors), cutter_(tensors), job_(job), abandoned_(abandoned) {}
  absl::Status Run();

 private:
  void Fill(Tile* tile);
  absl::Status Check(const Tile& tile) const;
  void Release(const Tile& tile) const;
  absl::Status Write(const Tile& tile);
  absl::Status RunAlone();
  absl::Status RunWithFiller();
  void FillAll();

  const std::vector<TensorSource>& tensors_;
  Cutter cutter_;  // The filling thread's.
  Job& job_;
  const std::atomic<bool>& abandoned_;
  std::vector<float> floats_;  // The filling thread's.
  uint64_t written_ = 0, total_ = 0;

  std::mutex mutex_;  // Of what follows.
  std::condition_variable changed_;
  std::deque<Tile> empty_, full_;
  bool done_ = false;  // All tiles are in full_ or were written, or nobody wants more.
};

void Stream::Fill(Tile* tile) {
  const TensorSource& tensor = *tile->tensor;
  if (!tensor.fill) {
    tile->bytes = tensor.bytes.substr(tile->first, tile->count);
    tile->status = absl::OkStatus();
    return;
  }
  tile->own.resize(tile->count * DTypeBytes(tensor.dtype));
  if (tensor.dtype == DType::kF32) {
    tensor.fill(tile->first, tile->count, reinterpret_cast<float*>(tile->own.data()));
  } else {
    floats_.resize(tile->count);
    tensor.fill(tile->first, tile->count, floats_.data());
    formats::FromFloats(floats_.data(), tile->count, tensor.dtype, tile->own.data());
  }
  tile->bytes = std::string_view(tile->own.data(), tile->own.size());
  tile->status = Check(*tile);
  Release(*tile);
}

absl::Status Stream::Check(const Tile& tile) const {
  const TensorSource& tensor = *tile.tensor;
  const size_t width = DTypeBytes(tensor.dtype);
  uint64_t random = job_.seed() + tile.first;
  for (int i = 0; i < kSamples && tile.count > 0; ++i) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const uint64_t at = i == 0 ? 0 : i == 1 ? tile.count - 1 : (random >> 33) % tile.count;
    uint32_t bits = 0;
    std::memcpy(&bits, tile.bytes.data() + at * width, width);
    const uint32_t expected = ElementBits(tensor.reference(tile.first + at), tensor.dtype);
    if (bits != expected) {
      return absl::InternalError(StrCat("tensor \"", tensor.name, "\": element ", tile.first + at, " came out as bits ",
                                        bits, ", its definition makes it ", expected));
    }
  }
  return absl::OkStatus();
}

void Stream::Release(const Tile& tile) const {
  const TensorSource& tensor = *tile.tensor;
  if (!tensor.in_order) {
    if (tile.first + tile.count == tensor.elements) job_.Release(tensor.bytes);
    return;
  }
  if (tile.count == 0) return;
  const uint64_t bytes_a_step = tensor.bytes.size() / (tensor.elements / tensor.step);
  job_.Release(tensor.bytes.substr(tile.first / tensor.step * bytes_a_step, tile.count / tensor.step * bytes_a_step));
}

absl::Status Stream::Write(const Tile& tile) {
  const TensorSource& tensor = *tile.tensor;
  if (!tile.status.ok()) return job_.Refuse(ToStd(tile.status.message()));
  RETURN_IF_ERROR(job_.CheckStop());
  if (abandoned_) return absl::CancelledError("the import has failed elsewhere");
  if (tile.first == 0) RETURN_IF_ERROR(job_.BeginTensor(tensor.name, DTypeName(tensor.dtype), tensor.shape));
  RETURN_IF_ERROR(job_.Write(tile.bytes.data(), tile.bytes.size()));
  if (!tensor.fill) job_.Release(tile.bytes);
  written_ += tile.bytes.size();
  job_.Progress("tensors", written_, total_, "bytes");
  return absl::OkStatus();
}

absl::Status Stream::RunAlone() {
  Tile tile;
  while (cutter_.Next(&tile)) {
    Fill(&tile);
    RETURN_IF_ERROR(Write(tile));
  }
  return absl::OkStatus();
}

void Stream::FillAll() {
  for (;;) {
    Tile tile;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return done_ || !empty_.empty(); });
      if (done_) return;
      tile = std::move(empty_.front());
      empty_.pop_front();
    }
    const bool more = cutter_.Next(&tile);
    if (more) Fill(&tile);
    std::lock_guard<std::mutex> lock(mutex_);
    if (more) full_.push_back(std::move(tile));
    if (!more) done_ = true;
    changed_.notify_all();
    if (!more) return;
  }
}

absl::Status Stream::RunWithFiller() {
  empty_.resize(kTiles);
  std::thread filler([this] { FillAll(); });
  absl::Status status;
  while (status.ok()) {
    Tile tile;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return done_ || !full_.empty(); });
      if (full_.empty()) break;
      tile = std::move(full_.front());
      full_.pop_front();
    }
    status = Write(tile);
    std::lock_guard<std::mutex> lock(mutex_);
    empty_.push_back(std::move(tile));
    if (!status.ok()) done_ = true;
    changed_.notify_all();
  }
  filler.join();
  return status;
}

absl::Status Stream::Run() {
  for (const TensorSource& tensor : tensors_) total_ += tensor.size();
  job_.Progress("tensors", 0, total_, "bytes");
  return job_.threads() > 1 ? RunWithFiller() : RunAlone();
}

}  // namespace

absl::Status WriteTensors(const std::vector<TensorSource>& tensors, Job& job, const std::atomic<bool>& abandoned) {
  return Stream(tensors, job, abandoned).Run();
}

}  // namespace editd::importer
