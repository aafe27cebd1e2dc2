// Dequantisation: blocks of a GGUF tensor to floats, bit-equal to the Python package `gguf`.
//
// Two decoders that share no code: Dequantize goes over whole blocks with loops that the compiler vectorises;
// DequantizeElement computes one element from the format's definition and is what an import checks the other with.
// Every product and sum is rounded to float by itself (no fused multiply-add), in the order of the Python package.
//
// Plain functions; safe from any thread.
#ifndef EDITD_PLUGINS_LIB_FORMATS_DEQUANTIZE_H_
#define EDITD_PLUGINS_LIB_FORMATS_DEQUANTIZE_H_

#include <cstdint>

#include "plugins/lib/formats/ggml_type.h"

namespace editd::formats {

// `count` elements, a multiple of the type's block, from `blocks` (any alignment) into `out`.
void Dequantize(GgmlType type, const void* blocks, uint64_t count, float* out);

// Element `index` of the row or tensor that begins at `blocks`.
float DequantizeElement(GgmlType type, const void* blocks, uint64_t index);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_DEQUANTIZE_H_
