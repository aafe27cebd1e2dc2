#include "plugins/lib/nn/kernels.h"

namespace editd::nn {

extern const KernelTable kAvx512Kernels;
extern const KernelTable kAvx2Kernels;
extern const KernelTable kGenericKernels;

int AvailableKernels(const KernelTable** tables, int room) {
  int count = 0;
#if defined(__x86_64__)
  if (count < room && __builtin_cpu_supports("x86-64-v4")) tables[count++] = &kAvx512Kernels;
  if (count < room && __builtin_cpu_supports("x86-64-v3")) tables[count++] = &kAvx2Kernels;
#endif
  if (count < room) tables[count++] = &kGenericKernels;
  return count;
}

const KernelTable& Kernels() {
  static const KernelTable* const best = [] {
    const KernelTable* table = nullptr;
    AvailableKernels(&table, 1);
    return table;
  }();
  return *best;
}

}  // namespace editd::nn
