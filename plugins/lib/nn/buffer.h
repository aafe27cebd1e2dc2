// Memory for numbers: aligned to cache lines, kept between uses, never shrunk.
#ifndef EDITD_PLUGINS_LIB_NN_BUFFER_H_
#define EDITD_PLUGINS_LIB_NN_BUFFER_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace editd::nn {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes) { Reserve(bytes); }
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer() { std::free(data_); }

  // At least so many bytes; what was there is lost if it had to grow.
  void Reserve(size_t bytes) {
    if (bytes <= size_) return;
    std::free(data_);
    size_ = (bytes + 63) / 64 * 64;
    data_ = std::aligned_alloc(64, size_);
    if (data_ == nullptr) throw std::bad_alloc();
  }
  size_t size() const { return size_; }
  template <typename T>
  T* As() {
    return static_cast<T*>(data_);
  }
  template <typename T>
  const T* As() const {
    return static_cast<const T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_BUFFER_H_
