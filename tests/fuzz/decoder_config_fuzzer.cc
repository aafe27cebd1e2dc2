// config.json as the decoder reads it.
#include <cstddef>
#include <cstdint>

#include "plugins/lib/nn/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = editd::nn::ParseDecoderConfig({reinterpret_cast<const char*>(data), size});
  if (!config.ok()) return 0;
  if (config->attention.size() != static_cast<size_t>(config->layers)) __builtin_trap();
  for (const auto& rope : config->ropes) {
    if (rope.frequencies.size() * 2 != static_cast<size_t>(config->head_dim)) __builtin_trap();
  }
  for (const auto& layer : config->attention) {
    if (layer.rope < 0 || static_cast<size_t>(layer.rope) >= config->ropes.size() || layer.window < 0) __builtin_trap();
  }
  return 0;
}
