// kernels.h for AVX2 processors; see CMakeLists.txt for the compiler's flags.
#include "plugins/lib/nn/kernels.h"

#define KERNELS_NAME kAvx2Kernels
#define KERNELS_TITLE "AVX2"
#include "plugins/lib/nn/kernels.inc"
