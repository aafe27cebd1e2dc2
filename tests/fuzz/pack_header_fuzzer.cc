// The reader of pack headers: a worker's pack is checked by it before it is published.
#include <cstdlib>

#include "storage/base/pack.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using editd::PackTensor;
  // The length is set right, so that the text itself is reached.
  std::string beginning(8, '\0');
  beginning.append(reinterpret_cast<const char*>(data), size);
  beginning.resize((beginning.size() + 4095) / 4096 * 4096, ' ');
  const uint64_t length = beginning.size() - 8;
  for (size_t i = 0; i < 8; ++i) beginning[i] = static_cast<char>(length >> (8 * i));
  const absl::StatusOr<editd::PackHeader> header = editd::ParsePackHeader(beginning);
  if (header.ok()) {
    uint64_t end = header->data_offset;
    for (const PackTensor& tensor : header->tensors) {
      if (tensor.offset < end || tensor.size > header->file_size - tensor.offset) std::abort();
      end = tensor.offset + tensor.size;
    }
  }
  (void)editd::ParsePackHeader({reinterpret_cast<const char*>(data), size});
  return 0;
}
