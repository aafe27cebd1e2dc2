// Any bytes as a safetensors file: an error or a header whose tensors lie inside the file, never a crash.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "plugins/lib/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto header = editd::formats::ReadSafetensors(file, "fuzz");
  if (!header.ok()) return 0;
  uint64_t total = 0;
  for (const auto& tensor : header->tensors) {
    if (tensor.offset > size || tensor.size > size - tensor.offset) std::abort();
    total += tensor.size;
  }
  if (total > size) std::abort();
  return 0;
}
