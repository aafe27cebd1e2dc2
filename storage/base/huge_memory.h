// Memory in huge pages, where the kernel gives them: for what is filled at once or looked at all over, with small pages
// the faults and the looks at the page tables would cost more than the work.
//
// Functions without state; any thread may call them.
#ifndef EDITD_STORAGE_BASE_HUGE_MEMORY_H_
#define EDITD_STORAGE_BASE_HUGE_MEMORY_H_

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <new>

namespace editd {

struct FreeHugeMemory {
  std::align_val_t alignment = {};
  void operator()(void* memory) const { ::operator delete(memory, alignment); }
};
using HugeMemory = std::unique_ptr<void, FreeHugeMemory>;

// `bytes` bytes, not zeroed, from a cache line's beginning on. What is less than a huge page lies in small ones.
inline HugeMemory AllocateHugeMemory(size_t bytes) {
  constexpr size_t kHugePage = size_t{2} << 20;
  const auto alignment = static_cast<std::align_val_t>(bytes >= kHugePage ? kHugePage : 64);
  HugeMemory memory(::operator new(bytes, alignment), {alignment});
  if (bytes >= kHugePage) (void)::madvise(memory.get(), bytes, MADV_HUGEPAGE);  // A wish.
  return memory;
}

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_HUGE_MEMORY_H_
