#include "plugins/merge/engine.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "storage/base/strings.h"

namespace editd::merge {
namespace {

constexpr size_t kAhead = 3;       // Tensors begun and not yet done.
constexpr int64_t kReadAhead = 8;  // Tiles.

// A stretch of the inputs that is about to be read: its pages are asked for in one call instead of fault by fault.
void Advise(const Source& source, int64_t begin, int64_t end, int advice) {
  if (source.gather != nullptr) return;
  static const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first =
      reinterpret_cast<uintptr_t>(source.data) + static_cast<size_t>(begin) * DTypeBytes(source.type);
  const uintptr_t last = reinterpret_cast<uintptr_t>(source.data) + static_cast<size_t>(end) * DTypeBytes(source.type);
  const uintptr_t start = first / page * page;
  (void)::madvise(reinterpret_cast<void*>(start), last - start, advice);  // Only a hint.
}

template <typename F>
void ForSources(const TensorPlan& plan, const F& f) {
  if (plan.base.has_value()) f(*plan.base);
  for (const Part& part : plan.parts) f(part.source);
}

// `"x" [3, 17] would be nan; base has 1, math has inf`
std::string NotFinite(const TensorPlan& plan, int64_t element, float value) {
  std::string index;
  int64_t rest = element;
  for (size_t i = plan.shape.size(); i-- > 0;) {
    index = StrCat(rest % plan.shape[i], index.empty() ? "" : ", ", index);
    rest /= plan.shape[i];
  }
  std::string inputs;
  ForSources(plan, [&](const Source& source) {
    float x;
    source.Load(element, 1, &x);
    StrAppend(&inputs, inputs.empty() ? "" : ", ", "\"", source.model, "\" has ", x);
  });
  return StrCat("tensor \"", plan.name, "\" would have ", value, " at [", index, "], which ", DTypeName(plan.type),
                " cannot hold; there ", inputs);
}

class Engine {
 public:
  Engine(const std::vector<const TensorPlan*>& plans, const EngineOptions& options, Sink* sink)
      : plans_(plans), options_(options), sink_(sink), free_(2 * options.threads + 2) {}

  absl::Status Run() {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < options_.threads; ++i) threads.emplace_back([this] { Work(); });
    const absl::Status status = WriteAll();
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    return status;
  }

 private:
  enum class Phase { kAdvance, kScan, kBlend };
  struct Tensor {
    std::unique_ptr<TensorMerge> merge;
    Phase phase = Phase::kAdvance;
    bool taken = false;                     // A thread advances it.
    bool mapped = false;                    // A scan has read the inputs already.
    int64_t tile = 0;                       // Elements of a tile.
    int64_t next = 0, done = 0, tiles = 0;  // Of the present phase.
  };
  // A tile of the result, in the order in which it is written.
  struct Tile {
    const TensorPlan* plan;
    int64_t begin, end;
    std::vector<char> bytes;
    bool ready = false;
    absl::Status status;
  };
  struct Task {
    std::shared_ptr<Tensor> tensor;
    Phase phase;
    int64_t number = 0;
    Tile* tile = nullptr;
    bool scan = false;  // What an advance gave.
    bool mapped = false;
  };

  absl::Status WriteAll() {
    for (const TensorPlan* plan : plans_) {
      RETURN_IF_ERROR(sink_->Begin(*plan));
      for (int64_t begin = 0; begin < plan->elements();) {
        std::unique_ptr<Tile> tile;
        {
          std::unique_lock lock(mutex_);
          written_.wait(lock, [&] { return !tiles_.empty() && tiles_.front()->ready; });
          tile = std::move(tiles_.front());
          tiles_.pop_front();
        }
        RETURN_IF_ERROR(tile->status);
        const size_t size = static_cast<size_t>(tile->end - tile->begin) * DTypeBytes(plan->type);
        RETURN_IF_ERROR(sink_->Write({tile->bytes.data(), size}));
        begin = tile->end;
        {
          std::lock_guard lock(mutex_);
          free_.push_back(std::move(tile->bytes));
        }
        wake_.notify_all();
      }
    }
    return absl::OkStatus();
  }

  void Work() {
    Scratch scratch;
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      std::optional<Task> task = Take();
      if (!task.has_value()) {
        if (begun_ == plans_.size() && active_.empty()) return;
        wake_.wait(lock);
        continue;
      }
      lock.unlock();
      Do(&*task, &scratch);
      lock.lock();
      Finish(*task);
    }
  }

  // What comes next, or nothing for now. Holds mutex_.
  std::optional<Task> Take() {
    for (size_t i = 0; i < active_.size(); ++i) {
      Tensor& tensor = *active_[i];
      if (tensor.phase == Phase::kAdvance && !tensor.taken) {
        tensor.taken = true;
        return Task{active_[i], Phase::kAdvance, 0, nullptr, false, tensor.mapped};
      }
      if (tensor.phase == Phase::kScan && tensor.next < tensor.tiles) {
        return Task{active_[i], Phase::kScan, tensor.next++, nullptr, false, tensor.mapped};
      }
      // Buffers are taken in the order of writing, so only when all tiles before are taken.
      if (tensor.phase == Phase::kBlend && i == 0 && !free_.empty()) {
        const int64_t number = tensor.next++;
        auto tile = std::make_unique<Tile>();
        tile->plan = &tensor.merge->plan();
        tile->begin = number * tensor.tile;
        tile->end = std::min(tensor.merge->elements(), tile->begin + tensor.tile);
        tile->bytes = std::move(free_.back());
        free_.pop_back();
        tiles_.push_back(std::move(tile));
        Task task{active_[i], Phase::kBlend, number, tiles_.back().get(), false, tensor.mapped};
        if (tensor.next == tensor.tiles) {
          active_.pop_front();
          wake_.notify_all();
        }
        return task;
      }
    }
    while (begun_ < plans_.size() && plans_[begun_]->elements() == 0) ++begun_;
    if (active_.size() >= kAhead || begun_ == plans_.size()) return std::nullopt;
    auto tensor = std::make_shared<Tensor>();
    tensor->merge = MakeTensorMerge(*plans_[begun_++]);
    tensor->taken = true;
    active_.push_back(tensor);
    return Task{tensor, Phase::kAdvance, 0, nullptr, false, false};
  }

  void Do(Task* todo, Scratch* scratch) {
    Task& task = *todo;
    TensorMerge& merge = *task.tensor->merge;
    if (task.phase == Phase::kAdvance) {
      task.scan = merge.Advance(scratch);
    } else if (task.phase == Phase::kScan) {
      const int64_t leaves = LeavesOfTile(merge);
      const int64_t first = task.number * leaves, end = std::min(merge.leaves(), first + leaves);
      if (!task.mapped) Prefetch(merge.plan(), first * merge.leaf(), std::min(merge.elements(), end * merge.leaf()));
      merge.Scan(first, end, scratch);
    } else {
      BlendTile(&merge, task.mapped, scratch, task.tile);
    }
  }

  void BlendTile(TensorMerge* merge, bool mapped, Scratch* scratch, Tile* tile) {
    const TensorPlan& plan = merge->plan();
    const size_t bytes = DTypeBytes(plan.type);
    tile->bytes.resize(static_cast<size_t>(tile->end - tile->begin) * bytes);
    if (!mapped) Prefetch(plan, tile->begin, tile->end);
    merge->Prepare(tile->begin, tile->end, scratch);
    std::vector<float>& out_room = scratch->out;
    out_room.resize(std::max(out_room.size(), static_cast<size_t>(merge->block())));
    float* out = out_room.data();
    for (int64_t begin = tile->begin; begin < tile->end; begin += merge->block()) {
      const size_t n = static_cast<size_t>(std::min(merge->block(), tile->end - begin));
      merge->Blend(begin, n, scratch, out);
      char* to = tile->bytes.data() + static_cast<size_t>(begin - tile->begin) * bytes;
      if (Store(plan.type, out, n, to)) continue;
      for (size_t i = 0; i < n; ++i) {
        char one[8];
        if (Store(plan.type, out + i, 1, one)) continue;
        tile->status = absl::FailedPreconditionError(NotFinite(plan, begin + static_cast<int64_t>(i), out[i]));
        return;
      }
    }
    sink_->Done(plan, tile->begin, tile->end);
  }

  static bool Store(DType type, const float* in, size_t n, void* out) {
    const kernels::Blocks& k = kernels::ForThisMachine();
    switch (type) {
      case DType::kBF16:
        return k.store_bf16(in, n, out);
      case DType::kF16:
        return k.store_f16(in, n, out);
      default:
        return k.store_f32(in, n, out);
    }
  }

  // After a task. Holds mutex_.
  void Finish(const Task& task) {
    Tensor& tensor = *task.tensor;
    if (task.phase == Phase::kBlend) {
      task.tile->ready = true;
      written_.notify_one();
      return;
    }
    if (task.phase == Phase::kScan) {
      if (++tensor.done < tensor.tiles) return;
      tensor.mapped = true;
      tensor.phase = Phase::kAdvance;
      tensor.taken = false;
    } else {
      const TensorMerge& merge = *tensor.merge;
      tensor.next = tensor.done = 0;
      tensor.phase = task.scan ? Phase::kScan : Phase::kBlend;
      if (task.scan) {
        const int64_t leaves = LeavesOfTile(merge);
        tensor.tiles = (merge.leaves() + leaves - 1) / leaves;
      } else {
        tensor.tile = merge.block() * std::max<int64_t>(1, options_.tile / merge.block());
        tensor.tiles = (merge.elements() + tensor.tile - 1) / tensor.tile;
      }
    }
    wake_.notify_all();
  }

  // A scan has no result to hold, and a thread's counters are added up after each tile: so its tiles are larger.
  int64_t LeavesOfTile(const TensorMerge& merge) const {
    return std::max<int64_t>(1, 4 * options_.tile / merge.leaf());
  }

  static void Prefetch(const TensorPlan& plan, int64_t begin, int64_t end) {
    ForSources(plan, [&](const Source& source) {
      Advise(source, begin, end, MADV_POPULATE_READ);
      const int64_t next = begin + kReadAhead * (end - begin);
      if (next < plan.elements()) Advise(source, next, std::min(plan.elements(), next + end - begin), MADV_WILLNEED);
    });
  }

  const std::vector<const TensorPlan*>& plans_;
  const EngineOptions options_;
  Sink* const sink_;

  std::mutex mutex_;  // Guards all below.
  std::condition_variable wake_, written_;
  std::deque<std::shared_ptr<Tensor>> active_;
  size_t begun_ = 0;
  std::vector<std::vector<char>> free_;
  std::deque<std::unique_ptr<Tile>> tiles_;
  bool stopping_ = false;
};

}  // namespace

absl::Status RunMerge(const std::vector<const TensorPlan*>& plans, const EngineOptions& options, Sink* sink) {
  return Engine(plans, options, sink).Run();
}

}  // namespace editd::merge
