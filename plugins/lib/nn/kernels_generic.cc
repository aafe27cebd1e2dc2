// kernels.h for any processor; see CMakeLists.txt for the compiler's flags.
#include "plugins/lib/nn/kernels.h"

#define KERNELS_NAME kGenericKernels
#define KERNELS_TITLE "generic"
#include "plugins/lib/nn/kernels.inc"
