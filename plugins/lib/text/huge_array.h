// A fixed number of slots for a hash table. Large ones lie in huge pages where the system gives them: each look is at
// another place, and would else cost a look at the page tables too.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_HUGE_ARRAY_H_
#define EDITD_PLUGINS_LIB_TEXT_HUGE_ARRAY_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <type_traits>

namespace editd::text {

template <typename Slot>
class HugeArray {
 public:
  static_assert(std::is_trivially_destructible_v<Slot>);

  HugeArray() = default;
  // `size` slots, each made of `from`.
  template <typename... From>
  explicit HugeArray(size_t size, const From&... from) : size_(size) {
    constexpr size_t kHuge = size_t{2} << 20;
    const size_t alignment = size * sizeof(Slot) >= kHuge ? kHuge : 64;
    const size_t bytes = (size * sizeof(Slot) + alignment - 1) / alignment * alignment;
    void* memory = std::aligned_alloc(alignment, bytes);
    if (!memory) throw std::bad_alloc();
    if (alignment == kHuge) ::madvise(memory, bytes, MADV_HUGEPAGE);  // A wish.
    auto* slots = static_cast<Slot*>(memory);
    for (size_t i = 0; i < size; ++i) new (slots + i) Slot(from...);
    slots_.reset(slots);
  }

  size_t size() const { return size_; }
  Slot& operator[](size_t i) { return slots_[i]; }
  const Slot& operator[](size_t i) const { return slots_[i]; }

 private:
  struct Free {
    void operator()(Slot* memory) const { std::free(memory); }
  };
  std::unique_ptr<Slot[], Free> slots_;
  size_t size_ = 0;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_HUGE_ARRAY_H_
