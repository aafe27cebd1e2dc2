// A fixed number of slots for a hash table. Large ones lie in huge pages where the system gives them: each look is at
// another place, and would else cost a look at the page tables too.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_HUGE_ARRAY_H_
#define EDITD_PLUGINS_LIB_TEXT_HUGE_ARRAY_H_

#include <cstddef>
#include <new>
#include <type_traits>

#include "storage/base/huge_memory.h"

namespace editd::text {

template <typename Slot>
class HugeArray {
 public:
  static_assert(std::is_trivially_destructible_v<Slot>);

  HugeArray() = default;
  // `size` slots, each made of `from`.
  template <typename... From>
  explicit HugeArray(size_t size, const From&... from) : memory_(AllocateHugeMemory(size * sizeof(Slot))), size_(size) {
    for (size_t i = 0; i < size; ++i) new (slots() + i) Slot(from...);
  }

  size_t size() const { return size_; }
  Slot& operator[](size_t i) { return slots()[i]; }
  const Slot& operator[](size_t i) const { return slots()[i]; }

 private:
  Slot* slots() const { return static_cast<Slot*>(memory_.get()); }

  HugeMemory memory_;
  size_t size_ = 0;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_HUGE_ARRAY_H_
