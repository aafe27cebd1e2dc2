// Matrices on their way into a job's output: computed in float32 by tiles, rounded once, checked to be numbers.
//
// Not thread-safe; it uses the job's threads.
#ifndef EDITD_PLUGINS_ADAPTER_TENSOR_WRITER_H_
#define EDITD_PLUGINS_ADAPTER_TENSOR_WRITER_H_

#include <span>
#include <string>

#include "plugins/adapter/tiles.h"
#include "storage/base/dtype.h"

namespace editd::adapter {

class TensorWriter {
 public:
  explicit TensorWriter(Job& job) : job_(job) {}

  // For the progress: a tensor of this size will be written.
  void Expect(const Tensor& tensor) { total_ += tensor.size; }
  void Expect(uint64_t bytes) { total_ += bytes; }

  // Writes `matrix` as a tensor. `source` may be null: the tensor it is made of, whose pages are let go, and whose
  // value is named if an element is not finite: then nothing is published.
  absl::Status Write(const std::string& name, DType dtype, std::span<const int64_t> shape, const Matrix& matrix,
                     const Tensor* source);

  uint64_t tensors() const { return tensors_; }  // Written.

 private:
  Job& job_;
  uint64_t total_ = 0, written_ = 0, tensors_ = 0;
};

}  // namespace editd::adapter

#endif  // EDITD_PLUGINS_ADAPTER_TENSOR_WRITER_H_
