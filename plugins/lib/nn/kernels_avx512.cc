// kernels.h for AVX-512 processors; see CMakeLists.txt for the compiler's flags.
#include "plugins/lib/nn/kernels.h"

#define KERNELS_NAME kAvx512Kernels
#define KERNELS_TITLE "AVX-512"
#include "plugins/lib/nn/kernels.inc"
