#include "plugins/lib/formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::formats {
namespace {

constexpr uint64_t kMaxTensorName = 1024;
constexpr uint64_t kMaxKey = 65535;  // The format's own limit.
constexpr uint64_t kDefaultAlignment = 32;
// More than any model has; so that a file that is all counts costs no more memory than its size.
constexpr uint64_t kMaxEntries = 1 << 20;
constexpr uint64_t kMaxStrings = 1 << 24;

constexpr std::string_view kDamaged = "; the download is incomplete or the file is damaged";

constexpr std::string_view kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                           "bool", "string", "array", "u64", "i64", "f64"};

// Bytes of a number of this type; 0 for strings and arrays.
uint64_t Width(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

uint64_t LittleEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

int64_t SignExtended(uint64_t value, uint64_t width) {
  const int unused = static_cast<int>(64 - 8 * width);
  return static_cast<int64_t>(value << unused) >> unused;
}

class Reader {
 public:
  Reader(std::string_view file, std::string_view name) : file_(file), name_(name) {}

  absl::StatusOr<GgufFile> Read();

 private:
  template <typename... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(StrCat(name_, ": ", pieces...));
  }
  uint64_t left() const { return file_.size() - at_; }
  absl::StatusOr<std::string_view> Take(uint64_t size, std::string_view what);
  absl::StatusOr<uint64_t> TakeNumber(uint64_t width, std::string_view what);
  absl::StatusOr<std::string_view> TakeString(std::string_view what);
  absl::StatusOr<GgufType> TakeType(std::string_view key);
  absl::StatusOr<GgufValue> TakeValue(std::string_view key);
  absl::StatusOr<GgufArray> TakeArray(std::string_view key);
  absl::Status TakeTensor(GgufFile* out);
  absl::Status PlaceTensors(uint64_t alignment, GgufFile* out) const;

  const std::string_view file_;
  const std::string_view name_;
  uint64_t at_ = 0;
  std::vector<uint64_t> offsets_;  // Of each tensor, from the data's first byte.
  std::vector<uint64_t> sizes_;
};

absl::StatusOr<std::string_view> Reader::Take(uint64_t size, std::string_view what) {
  if (size > left()) {
    return Error(what, " needs ", size, " bytes from byte ", at_, " on, but the file ends at ", file_.size(), kDamaged);
  }
  const std::string_view bytes = file_.substr(at_, size);
  at_ += size;
  return bytes;
}

absl::StatusOr<uint64_t> Reader::TakeNumber(uint64_t width, std::string_view what) {
  ASSIGN_OR_RETURN(const std::string_view bytes, Take(width, what));
  return LittleEndian(bytes);
}

absl::StatusOr<std::string_view> Reader::TakeString(std::string_view what) {
  ASSIGN_OR_RETURN(const uint64_t size, TakeNumber(8, what));
  return Take(size, what);
}

absl::StatusOr<GgufType> Reader::TakeType(std::string_view key) {
  ASSIGN_OR_RETURN(const uint64_t number, TakeNumber(4, "a value's type"));
  if (number >= std::size(kTypeNames))
    return Error("key \"", key, "\" has value type ", number, ", which does not exist");
  return static_cast<GgufType>(number);
}

absl::StatusOr<GgufArray> Reader::TakeArray(std::string_view key) {
  GgufArray array;
  ASSIGN_OR_RETURN(array.element, TakeType(key));
  ASSIGN_OR_RETURN(array.count, TakeNumber(8, "an array's length"));
  if (array.element == GgufType::kArray)
    return Error("key \"", key, "\" is an array of arrays, which is not supported");
  const uint64_t least = array.element == GgufType::kString ? 8 : Width(array.element);
  if (array.count > left() / least) {
    return Error("key \"", key, "\" claims ", array.count, " elements, but the file ends at ", file_.size(), kDamaged);
  }
  if (array.element != GgufType::kString) {
    ASSIGN_OR_RETURN(array.bytes, Take(array.count * least, "an array"));
    return array;
  }
  if (array.count > kMaxStrings) return Error("key \"", key, "\" has ", array.count, " strings, which is too many");
  array.strings.reserve(array.count);
  for (uint64_t i = 0; i < array.count; ++i) {
    ASSIGN_OR_RETURN(const std::string_view text, TakeString(key));
    array.strings.push_back(text);
  }
  return array;
}

absl::StatusOr<GgufValue> Reader::TakeValue(std::string_view key) {
  ASSIGN_OR_RETURN(const GgufType type, TakeType(key));
  if (type == GgufType::kString) {
    ASSIGN_OR_RETURN(const std::string_view text, TakeString(key));
    return GgufValue{type, text};
  }
  if (type == GgufType::kArray) {
    absl::StatusOr<GgufArray> array = TakeArray(key);
    if (!array.ok()) return array.status();
    return GgufValue{type, *std::move(array)};
  }
  const uint64_t width = Width(type);
  ASSIGN_OR_RETURN(const uint64_t bits, TakeNumber(width, key));
  switch (type) {
    case GgufType::kF32:
      return GgufValue{type, static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits)))};
    case GgufType::kF64:
      return GgufValue{type, std::bit_cast<double>(bits)};
    case GgufType::kBool:
      return GgufValue{type, bits != 0};
    case GgufType::kI8:
    case GgufType::kI16:
    case GgufType::kI32:
    case GgufType::kI64:
      return GgufValue{type, SignExtended(bits, width)};
    default:
      return GgufValue{type, bits};
  }
}

absl::Status Reader::TakeTensor(GgufFile* out) {
  GgufTensor tensor;
  ASSIGN_OR_RETURN(tensor.name, TakeString("a tensor's name"));
  if (tensor.name.size() > kMaxTensorName) return Error("a tensor's name has ", tensor.name.size(), " bytes");
  ASSIGN_OR_RETURN(const uint64_t rank, TakeNumber(4, "a tensor's rank"));
  if (rank > 4) return Error("tensor \"", tensor.name, "\" has ", rank, " dimensions, the format allows 4");
  uint64_t elements = 1;
  for (uint64_t i = 0; i < rank; ++i) {
    ASSIGN_OR_RETURN(const uint64_t dimension, TakeNumber(8, "a tensor's shape"));
    constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
    if (dimension == 0) return Error("tensor \"", tensor.name, "\" has a dimension of 0");
    if (dimension > kMax / elements) return Error("tensor \"", tensor.name, "\" has more than 2^63 elements");
    elements *= dimension;
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dimension));
  }
  ASSIGN_OR_RETURN(const uint64_t type, TakeNumber(4, "a tensor's type"));
  ASSIGN_OR_RETURN(const uint64_t offset, TakeNumber(8, "a tensor's offset"));
  const GgmlTypeTraits* traits = FindGgmlType(static_cast<uint32_t>(type));
  if (traits == nullptr) {
    return Error("tensor \"", tensor.name, "\" has element type ", type, ", which is not supported; ",
                 "use a file with F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K");
  }
  tensor.type = traits->type;
  const uint64_t row = tensor.shape.empty() ? 1 : static_cast<uint64_t>(tensor.shape.back());
  if (row % traits->block != 0) {
    return Error("tensor \"", tensor.name, "\" has rows of ", row, " elements, but ", traits->name, " packs ",
                 traits->block, " at a time");
  }
  if (elements / traits->block > std::numeric_limits<int64_t>::max() / traits->bytes) {
    return Error("tensor \"", tensor.name, "\" has more than 2^63 bytes");
  }
  offsets_.push_back(offset);
  sizes_.push_back(elements / traits->block * traits->bytes);
  out->tensors.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::Status Reader::PlaceTensors(uint64_t alignment, GgufFile* out) const {
  const uint64_t padding = (alignment - at_ % alignment) % alignment;
  if (out->tensors.empty()) return absl::OkStatus();
  if (padding > left()) return Error("ends at ", file_.size(), ", before its tensors; the download is incomplete");
  const uint64_t start = at_ + padding, room = file_.size() - start;
  std::set<std::string_view> names;
  std::vector<size_t> order(out->tensors.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    GgufTensor& tensor = out->tensors[i];
    if (!names.insert(tensor.name).second) return Error("tensor \"", tensor.name, "\" is there twice");
    if (offsets_[i] % alignment != 0) {
      return Error("tensor \"", tensor.name, "\" has offset ", offsets_[i], ", which is no multiple of ", alignment);
    }
    if (offsets_[i] > room || sizes_[i] > room - offsets_[i]) {
      return Error("tensor \"", tensor.name, "\" has ", sizes_[i], " bytes from data offset ", offsets_[i],
                   ", the data ", room, kDamaged);
    }
    tensor.bytes = file_.substr(start + offsets_[i], sizes_[i]);
  }
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return offsets_[a] < offsets_[b]; });
  for (size_t i = 1; i < order.size(); ++i) {
    if (offsets_[order[i]] < offsets_[order[i - 1]] + sizes_[order[i - 1]]) {
      return Error("tensor \"", out->tensors[order[i]].name, "\" overlaps \"", out->tensors[order[i - 1]].name,
                   "\" at data offset ", offsets_[order[i]]);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufFile> Reader::Read() {
  GgufFile out;
  if (left() < 4 || file_.substr(0, 4) != "GGUF") return Error("does not begin with \"GGUF\"; is it a GGUF file?");
  at_ = 4;
  ASSIGN_OR_RETURN(const uint64_t version, TakeNumber(4, "the version"));
  if (version != 2 && version != 3) {
    if (version != 0 && version % 65536 == 0) return Error("is a big-endian GGUF file, which is not supported");
    return Error("is GGUF version ", version, "; versions 2 and 3 are supported");
  }
  out.version = static_cast<uint32_t>(version);
  ASSIGN_OR_RETURN(const uint64_t tensors, TakeNumber(8, "the number of tensors"));
  ASSIGN_OR_RETURN(const uint64_t keys, TakeNumber(8, "the number of keys"));
  // The least that a key (length, type, one byte) and a tensor (length, rank, type, offset) take.
  if (keys > kMaxEntries || tensors > kMaxEntries) {
    return Error("claims ", keys, " keys and ", tensors, " tensors, more than the ", kMaxEntries, " allowed", kDamaged);
  }
  if (keys > left() / 13) return Error("claims ", keys, " keys, but ends at ", file_.size(), kDamaged);
  if (tensors > left() / 24) return Error("claims ", tensors, " tensors, but ends at ", file_.size(), kDamaged);
  for (uint64_t i = 0; i < keys; ++i) {
    ASSIGN_OR_RETURN(const std::string_view key, TakeString("a key"));
    if (key.empty() || key.size() > kMaxKey) return Error("key ", i, " has ", key.size(), " bytes");
    ASSIGN_OR_RETURN(GgufValue value, TakeValue(key));
    if (!out.values.emplace(key, std::move(value)).second) return Error("key \"", key, "\" is there twice");
  }
  for (uint64_t i = 0; i < tensors; ++i) RETURN_IF_ERROR(TakeTensor(&out));
  uint64_t alignment = kDefaultAlignment;
  if (out.Find("general.alignment") != nullptr) {
    const int64_t stated = out.Integer("general.alignment").value_or(0);
    if (stated <= 0 || stated > (1 << 20) || !std::has_single_bit(static_cast<uint64_t>(stated))) {
      return Error("general.alignment is no power of two up to 2^20");
    }
    alignment = static_cast<uint64_t>(stated);
  }
  RETURN_IF_ERROR(PlaceTensors(alignment, &out));
  return out;
}

}  // namespace

std::string_view GgufTypeName(GgufType type) { return kTypeNames[static_cast<int>(type)]; }

int64_t GgufTensor::Elements() const {
  int64_t elements = 1;
  for (const int64_t dimension : shape) elements *= dimension;
  return elements;
}

const GgufValue* GgufFile::Find(std::string_view key) const {
  const auto it = values.find(key);
  return it == values.end() ? nullptr : &it->second;
}

std::optional<int64_t> GgufFile::Integer(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const int64_t* number = std::get_if<int64_t>(&value->value)) return *number;
  const uint64_t* number = std::get_if<uint64_t>(&value->value);
  if (number == nullptr || *number > std::numeric_limits<int64_t>::max()) return std::nullopt;
  return static_cast<int64_t>(*number);
}

std::optional<double> GgufFile::Number(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (const double* number = std::get_if<double>(&value->value)) return *number;
  const std::optional<int64_t> integer = Integer(key);
  if (!integer) return std::nullopt;
  return static_cast<double>(*integer);
}

std::optional<bool> GgufFile::Bool(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || !std::holds_alternative<bool>(value->value)) return std::nullopt;
  return std::get<bool>(value->value);
}

std::optional<std::string_view> GgufFile::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr || !std::holds_alternative<std::string_view>(value->value)) return std::nullopt;
  return std::get<std::string_view>(value->value);
}

const GgufArray* GgufFile::Array(std::string_view key, GgufType element) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return nullptr;
  const GgufArray* array = std::get_if<GgufArray>(&value->value);
  return array != nullptr && array->element == element ? array : nullptr;
}

int64_t IntegerAt(const GgufArray& array, uint64_t index) {
  const uint64_t width = Width(array.element);
  const uint64_t bits = LittleEndian(array.bytes.substr(index * width, width));
  const bool is_signed = array.element == GgufType::kI8 || array.element == GgufType::kI16 ||
                         array.element == GgufType::kI32 || array.element == GgufType::kI64;
  return is_signed ? SignExtended(bits, width) : static_cast<int64_t>(bits);
}

absl::StatusOr<GgufFile> ReadGguf(std::string_view file, std::string_view name) { return Reader(file, name).Read(); }

}  // namespace editd::formats
