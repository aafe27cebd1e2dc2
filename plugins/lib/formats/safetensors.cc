#include "plugins/lib/formats/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include "plugins/lib/formats/json.h"
#include "storage/base/pack.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::formats {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // The format's own limit.
constexpr size_t kMaxRank = 32;

uint64_t LittleEndian64(const char* data) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(data[i]);
  return value;
}

class Reader {
 public:
  Reader(std::string_view file, std::string_view name) : file_(file), name_(name) {}

  absl::StatusOr<SafetensorsHeader> Read();

 private:
  template <typename... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(StrCat(name_, ": ", pieces...));
  }
  absl::Status ReadMetadata(simdjson::dom::element value, SafetensorsHeader* header) const;
  absl::Status ReadEntry(std::string_view tensor, simdjson::dom::element value, SafetensorsHeader* header) const;
  absl::Status CheckLayout(SafetensorsHeader* header) const;

  const std::string_view file_;
  const std::string_view name_;
  uint64_t data_start_ = 0;
};

absl::StatusOr<SafetensorsHeader> Reader::Read() {
  if (file_.size() < 8) return Error("has ", file_.size(), " bytes, too few for a safetensors file");
  const uint64_t size = LittleEndian64(file_.data());
  if (size > kMaxHeader) {
    return Error("its header claims ", size, " bytes, more than the ", kMaxHeader,
                 " allowed; is it a safetensors file?");
  }
  if (size > file_.size() - 8) {
    return Error("its header ends at ", size + 8, ", the file at ", file_.size(), "; the download is incomplete");
  }
  data_start_ = 8 + size;
  const std::string_view text = file_.substr(8, size);
  if (text.empty() || text[0] != '{') return Error("its header is no JSON object; is it a safetensors file?");

  simdjson::dom::parser parser;
  simdjson::dom::element root;
  if (const auto error = parser.parse(text.data(), text.size()).get(root); error != simdjson::SUCCESS) {
    return Error("its header is no valid JSON (", simdjson::error_message(error), ")");
  }
  simdjson::dom::object object;
  if (root.get(object) != simdjson::SUCCESS) return Error("its header is no JSON object");

  SafetensorsHeader header;
  bool has_metadata = false;
  for (const auto field : object) {
    if (field.key == "__metadata__") {
      if (std::exchange(has_metadata, true)) return Error("its header has \"__metadata__\" twice");
      RETURN_IF_ERROR(ReadMetadata(field.value, &header));
    } else {
      RETURN_IF_ERROR(ReadEntry(field.key, field.value, &header));
    }
  }
  RETURN_IF_ERROR(CheckLayout(&header));
  return header;
}

absl::Status Reader::ReadMetadata(simdjson::dom::element value, SafetensorsHeader* header) const {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return Error("\"__metadata__\" is no object");
  for (const auto field : object) {
    std::string_view text;
    if (field.value.get(text) != simdjson::SUCCESS) {
      return Error("metadata \"", field.key, "\" is no string");
    }
    header->metadata.emplace(field.key, text);
  }
  return absl::OkStatus();
}

absl::Status Reader::ReadEntry(std::string_view tensor, simdjson::dom::element value, SafetensorsHeader* header) const {
  simdjson::dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return Error("tensor \"", tensor, "\" is no object");
  SafetensorsEntry entry;
  entry.name = tensor;
  std::string_view type;
  simdjson::dom::array shape, offsets;
  int known = 0;
  for (const auto field : object) {
    if (field.key == "dtype" && field.value.get(type) == simdjson::SUCCESS) {
      known |= 1;
    } else if (field.key == "shape" && field.value.get(shape) == simdjson::SUCCESS) {
      known |= 2;
    } else if (field.key == "data_offsets" && field.value.get(offsets) == simdjson::SUCCESS) {
      known |= 4;
    } else {
      return Error("tensor \"", tensor, "\" has an unexpected or ill-typed field \"", field.key, "\"");
    }
  }
  if (known != 7) return Error("tensor \"", tensor, "\" lacks dtype, shape or data_offsets");
  const std::optional<DType> dtype = DTypeFromName(type);
  if (!dtype) return Error("tensor \"", tensor, "\" has element type \"", type, "\", which is not supported");
  entry.dtype = *dtype;
  for (const simdjson::dom::element element : shape) {
    uint64_t dimension;
    if (element.get(dimension) != simdjson::SUCCESS || dimension > std::numeric_limits<int64_t>::max()) {
      return Error("tensor \"", tensor, "\" has a dimension that is no count");
    }
    if (entry.shape.size() == kMaxRank) return Error("tensor \"", tensor, "\" has more than ", kMaxRank, " dimensions");
    entry.shape.push_back(static_cast<int64_t>(dimension));
  }
  uint64_t ends[2];
  size_t count = 0;
  for (const simdjson::dom::element element : offsets) {
    if (count == 2 || element.get(ends[count++]) != simdjson::SUCCESS) {
      return Error("tensor \"", tensor, "\" has data_offsets that are no two counts");
    }
  }
  if (count != 2) return Error("tensor \"", tensor, "\" has data_offsets that are no two counts");
  const uint64_t room = file_.size() - data_start_;
  if (ends[1] < ends[0]) return Error("tensor \"", tensor, "\" ends before it begins");
  if (ends[1] > room) {
    const std::string end = ends[1] > std::numeric_limits<uint64_t>::max() - data_start_
                                ? StrCat("data offset ", ends[1])
                                : StrCat(ends[1] + data_start_);
    return Error("tensor \"", tensor, "\" ends at ", end, ", the file at ", file_.size(),
                 "; the download is incomplete");
  }
  entry.offset = data_start_ + ends[0];
  entry.size = ends[1] - ends[0];
  const absl::StatusOr<uint64_t> bytes = TensorBytes(entry.dtype, entry.shape);
  if (!bytes.ok()) return Error("tensor \"", tensor, "\": ", bytes.status().message());
  if (*bytes != entry.size) {
    return Error("tensor \"", tensor, "\" has ", entry.size, " bytes, its type and shape make ", *bytes);
  }
  header->tensors.push_back(std::move(entry));
  return absl::OkStatus();
}

absl::Status Reader::CheckLayout(SafetensorsHeader* header) const {
  std::set<std::string_view> names;
  for (const SafetensorsEntry& entry : header->tensors) {
    if (!names.insert(entry.name).second) return Error("tensor \"", entry.name, "\" is there twice");
  }
  std::sort(header->tensors.begin(), header->tensors.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.offset, a.size, a.name) < std::tie(b.offset, b.size, b.name);
  });
  uint64_t end = data_start_;
  std::string_view before = "the header";
  for (const SafetensorsEntry& entry : header->tensors) {
    if (entry.offset < end) return Error("tensor \"", entry.name, "\" overlaps \"", before, "\" at ", entry.offset);
    if (entry.offset > end) {
      return Error("no tensor names the bytes ", end, " to ", entry.offset, ", before \"", entry.name, "\"");
    }
    end += entry.size;
    before = entry.name;
  }
  if (end != file_.size()) return Error("its tensors end at ", end, ", the file at ", file_.size());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ReadSafetensors(std::string_view file, std::string_view name) {
  return Reader(file, name).Read();
}

std::string LayOutSafetensors(std::vector<SafetensorsEntry>* tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::sort(tensors->begin(), tensors->end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    const size_t wide_a = DTypeBytes(a.dtype), wide_b = DTypeBytes(b.dtype);
    return wide_a != wide_b ? wide_a > wide_b : a.name < b.name;
  });
  std::string text = "{";
  if (!metadata.empty()) {
    text += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (text.back() != '{') text += ',';
      AppendJsonString(&text, key);
      text += ':';
      AppendJsonString(&text, value);
    }
    text += '}';
  }
  uint64_t offset = 0;
  for (SafetensorsEntry& entry : *tensors) {
    if (text.size() > 1) text += ',';
    AppendJsonString(&text, entry.name);
    StrAppend(&text, ":{\"dtype\":\"", DTypeName(entry.dtype), "\",\"shape\":[");
    for (size_t i = 0; i < entry.shape.size(); ++i) StrAppend(&text, i == 0 ? "" : ",", entry.shape[i]);
    StrAppend(&text, "],\"data_offsets\":[", offset, ",", offset + entry.size, "]}");
    entry.offset = offset;
    offset += entry.size;
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');
  for (SafetensorsEntry& entry : *tensors) entry.offset += 8 + text.size();
  std::string head(8, '\0');
  for (int i = 0; i < 8; ++i) head[i] = static_cast<char>(text.size() >> (8 * i));
  return head + text;
}

}  // namespace editd::formats
