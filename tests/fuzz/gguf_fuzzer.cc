// Any bytes as a GGUF file: an error or tensors that lie inside the file and decode, never a crash.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "plugins/lib/formats/dequantize.h"
#include "plugins/lib/formats/gguf.h"
#include "plugins/lib/formats/gguf_model.h"
#include "plugins/lib/formats/gguf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace editd::formats;
  const std::string_view file(reinterpret_cast<const char*>(data), size);
  const auto gguf = ReadGguf(file, "fuzz");
  if (!gguf.ok()) return 0;
  for (const auto& [key, value] : gguf->values) {
    if (const auto* array = std::get_if<GgufArray>(&value.value); array != nullptr && array->strings.empty()) {
      for (uint64_t i = 0; i < array->count && i < 16; ++i) IntegerAt(*array, i);
    }
  }
  (void)ConvertGgufTokenizer(*gguf, 1 << 20, "fuzz");
  if (const auto model = ConvertGgufModel(*gguf, "fuzz"); model.ok()) {
    for (const GgufSource& source : model->tensors) {
      for (int64_t row = 0; row < source.Rows(); ++row) {
        if (source.SourceRow(row) < 0 || source.SourceRow(row) >= source.Rows()) std::abort();
      }
    }
  }
  std::vector<float> values;
  for (const GgufTensor& tensor : gguf->tensors) {
    if (tensor.bytes.data() < file.data() || tensor.bytes.data() + tensor.bytes.size() > file.data() + size)
      std::abort();
    values.resize(tensor.Elements());
    Dequantize(tensor.type, tensor.bytes.data(), values.size(), values.data());
    DequantizeElement(tensor.type, tensor.bytes.data(), values.size() - 1);
  }
  return 0;
}
