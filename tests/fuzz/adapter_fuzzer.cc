// Any bytes as an adapter: the first half adapter_config.json, the rest names of tensors, a line each, whose shapes are
// made of the line's length. An error, or values that the rest of the code can use; never a crash.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "plugins/lib/formats/adapter.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace editd::formats;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t cut = text.find('\n');
  const auto config = ReadAdapterConfig(text.substr(0, cut), "fuzz");
  std::vector<std::string> names;
  std::vector<AdapterTensor> tensors;
  for (size_t at = cut; at != std::string_view::npos && names.size() < 64;) {
    const size_t end = text.find('\n', at + 1);
    names.push_back(
        CanonicalAdapterTensorName(text.substr(at + 1, end == std::string_view::npos ? end : end - at - 1)));
    at = end;
  }
  for (const std::string& name : names) {
    tensors.push_back({name, {static_cast<int64_t>(name.size() % 5), static_cast<int64_t>(name.size() % 3)}});
    if (name.size() % 7 == 0) tensors.back().shape.pop_back();
  }
  std::vector<std::string> problems;
  const AdapterLayout layout = LayOutAdapter(tensors, &problems);
  for (const LoraModule& module : layout.modules) {
    if (module.a >= tensors.size() || module.b >= tensors.size()) std::abort();
    if (config.ok() && std::isnan(ScaleOf(*config, module.module).rank)) std::abort();
  }
  if (!config.ok()) return 0;
  CheckAdapterConfig(*config, tensors, layout, &problems);
  for (const auto& [key, value] : DescribeAdapter(*config, layout)) {
    if (value.size() > 1024) std::abort();
  }
  return 0;
}
