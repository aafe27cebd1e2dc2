// What an attempt left for the next, which anything may have torn.
#include <cstdlib>

#include "plugins/host/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto content = editd::host::ParseCheckpoint(file, editd::host::Checkpoint::Owner(7, "recipe", "plugin"));
  if (content.ok() && !file.ends_with(*content)) std::abort();
  return 0;
}
