// config.json as the decoder reads it.
#include <cstddef>
#include <cstdint>

#include "plugins/lib/nn/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = editd::nn::ParseDecoderConfig({reinterpret_cast<const char*>(data), size});
  if (config.ok() && config->inv_frequencies.size() * 2 != static_cast<size_t>(config->head_dim)) __builtin_trap();
  return 0;
}
