// GGUF, versions 2 and 3: llama.cpp's model files.
//
//   "GGUF" | u32 version | u64 tensors | u64 keys | key-value pairs | tensor descriptions | padding | tensor data
//
// The reader keeps views into the file (mapped, and alive as long as the reader's result), copies no text and no
// tensor, and checks each count, length, offset and product before it uses it: a file that lies about itself is an
// error that says where, not a large allocation.
//
// Plain values and functions; no locking.
#ifndef EDITD_PLUGINS_LIB_FORMATS_GGUF_H_
#define EDITD_PLUGINS_LIB_FORMATS_GGUF_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/formats/ggml_type.h"

namespace editd::formats {

// The types of values, numbered as in the format.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
std::string_view GgufTypeName(GgufType type);

// Numbers in an array, not aligned.
struct GgufArray {
  GgufType element = GgufType::kU8;
  uint64_t count = 0;
  std::string_view bytes;                 // Of numbers.
  std::vector<std::string_view> strings;  // Of strings.
};

struct GgufValue {
  GgufType type = GgufType::kU8;
  std::variant<uint64_t, int64_t, double, bool, std::string_view, GgufArray> value;
};

struct GgufTensor {
  std::string_view name;
  GgmlType type;
  std::vector<int64_t> shape;  // Row-major, as everywhere here; the file has the dimensions the other way round.
  std::string_view bytes;

  int64_t Elements() const;
};

struct GgufFile {
  uint32_t version = 0;
  std::map<std::string_view, GgufValue> values;
  std::vector<GgufTensor> tensors;  // In the file's order.

  const GgufValue* Find(std::string_view key) const;
  // The value under `key` if it is there and of a fitting type; numbers convert between widths where they fit.
  std::optional<int64_t> Integer(std::string_view key) const;
  std::optional<double> Number(std::string_view key) const;
  std::optional<bool> Bool(std::string_view key) const;
  std::optional<std::string_view> String(std::string_view key) const;
  const GgufArray* Array(std::string_view key, GgufType element) const;
};

// Element `index` of an array of integers.
int64_t IntegerAt(const GgufArray& array, uint64_t index);

// Reads the file whose bytes are `file`; `name` is for messages. INVALID_ARGUMENT says what is wrong where.
absl::StatusOr<GgufFile> ReadGguf(std::string_view file, std::string_view name);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_GGUF_H_
