// TensorMerge: how one tensor of the result is computed from the inputs' tensors, block by block.
//
// A tensor is a row of leaves, a leaf a row of blocks (the last of each may be shorter). A method that needs something
// of the whole tensor first (a norm, a threshold) scans all leaves, as often as it asks for, and then each block can be
// blended on its own, in any order, by any thread. What a scan finds is kept leaf by leaf and put together in the order
// of leaves, so that neither tiles nor threads change a bit of it.
//
// Thread-safe as the engine uses it: Scan, Prepare and Blend by several threads on different leaves and blocks; Advance
// by one, while no other call runs.
#ifndef EDITD_PLUGINS_MERGE_TENSOR_MERGE_H_
#define EDITD_PLUGINS_MERGE_TENSOR_MERGE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "editd/plugins/merge/v1/merge.pb.h"
#include "plugins/lib/kernels/blocks.h"
#include "plugins/merge/row_gather.h"
#include "storage/base/dtype.h"
#include "storage/base/status.h"

namespace editd::merge {

namespace v1 = editd::plugins::merge::v1;

inline constexpr int64_t kBlock = 2048;  // Elements.
inline constexpr int64_t kLeaf = 65536;  // Elements; a multiple of kBlock.

// An input's tensor, read as float32.
struct Source {
  DType type = DType::kF32;  // F64, F32, F16 or BF16. F64 is rounded.
  const char* data = nullptr;
  std::string_view model;             // For messages.
  const RowGather* gather = nullptr;  // Set: rows come in another order, and `data` is not read directly.

  void Load(int64_t begin, size_t n, float* out) const;
};

// A model that takes part in a tensor, with its parameters for it.
struct Part {
  Source source;
  double weight = 1;
  double density = 1;
  double gamma = 0.01;
  double epsilon = 0.15;
  double scale = 1;
  uint32_t stream = 0;  // Its place among the spec's models: tells their random bits apart.
};

// What holds for all models of a tensor.
struct Settings {
  v1::Method method = v1::METHOD_UNSPECIFIED;
  bool normalize = false;
  v1::Rescale rescale = v1::RESCALE_NONE;
  v1::Election election = v1::ELECTION_WEIGHTED_SUM;
  v1::Divisor divisor = v1::DIVISOR_WEIGHTS;
  double lambda = 1;
  double t = 0;
  double epsilon = 1e-5;
  double select_topk = 1;
  double r = 0.1;
  double alpha = 0.2;
  double eps = 1e-8;
  double tol = 1e-5;
  int max_iter = 10;
  bool flatten = true;
  bool row_wise = false;
  bool normalize_weights = true;
  bool filter_wise = false;
  uint64_t seed = 0;
};

// One tensor of the result, all parameters known.
struct TensorPlan {
  std::string name;
  std::vector<int64_t> shape;
  DType type = DType::kF32;
  std::vector<Part> parts;     // Without the base, unless the method takes it as a model.
  std::optional<Source> base;  // What differences are taken from.
  Settings settings;

  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;
    return n;
  }
  // The last dimension, and how many rows of it there are. A tensor of fewer than two dimensions is one row.
  int64_t columns() const { return shape.size() < 2 ? elements() : shape.back(); }
  int64_t rows() const { return columns() == 0 ? 0 : elements() / columns(); }
};

// A thread's own memory: numbered buffers that grow as asked for.
class Scratch {
 public:
  float* Floats(size_t number, size_t n) { return Grow(&floats_, number, n); }
  uint32_t* Words(size_t number, size_t n) { return Grow(&words_, number, n); }
  uint64_t* Longs(size_t number, size_t n) { return Grow(&longs_, number, n); }
  double* Doubles(size_t n) { return Grow(&doubles_, 0, n); }
  std::vector<float> out;  // The engine's.

 private:
  template <typename T>
  static T* Grow(std::vector<std::vector<T>>* buffers, size_t number, size_t n) {
    if (buffers->size() <= number) buffers->resize(number + 1);
    std::vector<T>& buffer = (*buffers)[number];
    if (buffer.size() < n + 64) buffer.resize(n + 64);  // Random bits come in sixty-fours.
    return buffer.data();
  }
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<uint32_t>> words_;
  std::vector<std::vector<uint64_t>> longs_;
  std::vector<std::vector<double>> doubles_;
};

class TensorMerge {
 public:
  // `plan` is not owned and must outlive this.
  explicit TensorMerge(const TensorPlan& plan) : plan_(plan), elements_(plan.elements()) {}
  virtual ~TensorMerge() = default;

  int64_t elements() const { return elements_; }
  int64_t block() const { return block_; }
  int64_t leaf() const { return leaf_; }
  int64_t leaves() const { return (elements_ + leaf_ - 1) / leaf_; }
  const TensorPlan& plan() const { return plan_; }

  // Called before the first scan and after each one: true if all leaves have to be scanned (again).
  virtual bool Advance(Scratch*) { return false; }
  // Leaves first .. end - 1. A scan's calls begin in order, from the tensor's beginning to its end.
  virtual void Scan(int64_t /*first*/, int64_t /*end*/, Scratch*) {}
  // Before the blocks of elements begin .. end are blended. These calls begin in order, too. A call may wait for the
  // ones that began before it.
  virtual void Prepare(int64_t /*begin*/, int64_t /*end*/, Scratch*) {}
  // Elements begin .. begin + n: one block. `begin` is a multiple of block().
  virtual void Blend(int64_t begin, size_t n, Scratch* scratch, float* out) = 0;

 protected:
  // Blocks are rows; leaves are so many rows that they have about kLeaf elements.
  void UseRows() {
    const int64_t row = std::max<int64_t>(1, plan_.columns());
    UseLeaves(row, row * std::max<int64_t>(1, kLeaf / row));
  }
  void UseLeaves(int64_t block, int64_t leaf) {
    block_ = block;
    leaf_ = leaf;
  }
  // body(leaf, begin, n) for each block of some leaves.
  template <typename Body>
  void ForBlocks(int64_t first, int64_t end, const Body& body) const {
    for (int64_t leaf = first; leaf < end; ++leaf) {
      const int64_t stop = std::min(elements_, (leaf + 1) * leaf_);
      for (int64_t begin = leaf * leaf_; begin < stop; begin += block_) {
        body(leaf, begin, static_cast<size_t>(std::min(block_, stop - begin)));
      }
    }
  }

  const TensorPlan& plan_;
  const kernels::Blocks& k_ = kernels::ForThisMachine();

 private:
  const int64_t elements_;
  int64_t block_ = kBlock;
  int64_t leaf_ = kLeaf;
};

// The method of the plan's settings.
std::unique_ptr<TensorMerge> MakeTensorMerge(const TensorPlan& plan);

// One function a family of methods: null if the method is none of its.
std::unique_ptr<TensorMerge> MakeCombination(const TensorPlan& plan);  // combination.cc
std::unique_ptr<TensorMerge> MakeSparse(const TensorPlan& plan);       // sparse.cc
std::unique_ptr<TensorMerge> MakeSelective(const TensorPlan& plan);    // selective.cc

// The sum of `terms` in a fixed tree: halves first. One after the other would lose digits, and any other order bits.
double TreeSum(const double* terms, size_t n, size_t stride = 1);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_TENSOR_MERGE_H_
