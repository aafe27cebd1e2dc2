// safetensors: named tensors behind a JSON header, as Hugging Face's checkpoints have them.
//
//   u64 header size, little-endian | header: {"name": {"dtype", "shape", "data_offsets": [begin, end]}, ...} | data
//
// The reader takes nothing on trust: every length and product is checked before it is used, and the tensors must fill
// the data exactly, in any order, without a hole or an overlap, as the format demands. It reads the header only; the
// bytes stay where they are (a mapped file).
//
// Plain values and functions; no locking.
#ifndef EDITD_PLUGINS_LIB_FORMATS_SAFETENSORS_H_
#define EDITD_PLUGINS_LIB_FORMATS_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/base/dtype.h"

namespace editd::formats {

struct SafetensorsEntry {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;  // Row-major; empty for a scalar.
  uint64_t offset;             // From the file's first byte.
  uint64_t size;               // Bytes.
};

struct SafetensorsHeader {
  std::map<std::string, std::string> metadata;  // "__metadata__"
  std::vector<SafetensorsEntry> tensors;        // By offset.
};

// The header of the file whose bytes are `file`; `name` is for messages. INVALID_ARGUMENT says what is wrong where.
absl::StatusOr<SafetensorsHeader> ReadSafetensors(std::string_view file, std::string_view name);

// Sorts `tensors` as the format's own writer does (wide elements first, then by name, so that every tensor starts at a
// multiple of its element), sets their offsets, and returns the file's first bytes: what the data follows.
std::string LayOutSafetensors(std::vector<SafetensorsEntry>* tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_SAFETENSORS_H_
