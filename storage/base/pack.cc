#include "storage/base/pack.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>

#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr std::string_view kPadPrefix = "__pad";
constexpr size_t kMaxRank = 64;

uint64_t ReadLength(std::string_view bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint8_t>(bytes[static_cast<size_t>(i)]);
  return value;
}

// Reads the header's text from left to right. Every function leaves the position at the first byte that it did not
// take.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  absl::Status Parse(uint64_t data_offset, PackHeader* header) {
    RETURN_IF_ERROR(Take("{"));
    uint64_t end = 0;
    std::unordered_set<Id> seen;
    for (bool first = true; first || Peek() == ','; first = false) {
      if (!first) RETURN_IF_ERROR(Take(","));
      RETURN_IF_ERROR(ParseEntry(data_offset, &end, &seen, header));
    }
    RETURN_IF_ERROR(Take("}"));
    while (position_ < text_.size()) RETURN_IF_ERROR(Take(" "));
    if (header->tensors.empty()) return Bad("no tensor");
    header->file_size = data_offset + end;
    return absl::OkStatus();
  }

 private:
  absl::Status ParseEntry(uint64_t data_offset, uint64_t* end, std::unordered_set<Id>* seen, PackHeader* header) {
    std::string_view name, dtype_name;
    PackTensor tensor;
    RETURN_IF_ERROR(TakeString(&name));
    RETURN_IF_ERROR(Take(":{\"dtype\":"));
    RETURN_IF_ERROR(TakeString(&dtype_name));
    RETURN_IF_ERROR(Take(",\"shape\":["));
    while (Peek() != ']') {
      if (!tensor.shape.empty()) RETURN_IF_ERROR(Take(","));
      if (tensor.shape.size() == kMaxRank) return Bad(StrCat("more than ", kMaxRank, " dimensions"));
      uint64_t extent = 0;
      RETURN_IF_ERROR(TakeNumber(&extent));
      tensor.shape.push_back(static_cast<int64_t>(extent));
    }
    uint64_t begin = 0, stop = 0;
    RETURN_IF_ERROR(Take("],\"data_offsets\":["));
    RETURN_IF_ERROR(TakeNumber(&begin));
    RETURN_IF_ERROR(Take(","));
    RETURN_IF_ERROR(TakeNumber(&stop));
    RETURN_IF_ERROR(Take("]}"));

    const std::optional<DType> dtype = DTypeFromName(dtype_name);
    if (!dtype.has_value()) return Bad(StrCat("unknown element type \"", dtype_name.substr(0, 40), "\""));
    if (begin != *end || stop < begin) {
      return Bad(StrCat("bytes ", begin, " to ", stop, " do not follow on the tensor before, which ends at ", *end));
    }
    ASSIGN_OR_RETURN(const uint64_t size, TensorBytes(*dtype, tensor.shape));
    if (size != stop - begin) {
      return Bad(StrCat("a tensor takes ", size, " bytes by its shape, ", stop - begin, " by its offsets"));
    }
    *end = stop;
    if (name.starts_with(kPadPrefix)) return absl::OkStatus();
    absl::StatusOr<Id> id = Id::FromHex(name);
    if (!id.ok()) return Bad(id.status().message());
    if (!seen->insert(*id).second) return Bad(StrCat("tensor ", name, " stands twice"));
    if (begin % kPackTensorAlignment != 0) return Bad(StrCat("tensor ", name, " is not aligned"));
    tensor.id = *id;
    tensor.dtype = *dtype;
    tensor.offset = data_offset + begin;
    tensor.size = size;
    header->tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  char Peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }

  absl::Status Take(std::string_view expected) {
    if (text_.substr(position_, expected.size()) != expected) return Bad(StrCat("`", expected, "` is expected"));
    position_ += expected.size();
    return absl::OkStatus();
  }

  absl::Status TakeString(std::string_view* value) {
    RETURN_IF_ERROR(Take("\""));
    const size_t close = text_.find('"', position_);
    if (close == std::string_view::npos) return Bad("a string does not end");
    *value = text_.substr(position_, close - position_);
    if (value->find('\\') != std::string_view::npos) return Bad("a name holds a backslash");
    position_ = close + 1;
    return absl::OkStatus();
  }

  absl::Status TakeNumber(uint64_t* value) {
    const size_t begin = position_;
    *value = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      if (position_ - begin == 18) return Bad("a number is too large");
      *value = *value * 10 + static_cast<uint64_t>(Peek() - '0');
      ++position_;
    }
    return position_ == begin ? Bad("a number is expected") : absl::OkStatus();
  }

  absl::Status Bad(std::string_view what) const {
    return absl::DataLossError(StrCat("pack header, byte ", kLengthBytes + position_, ": ", what));
  }
  absl::Status Bad(absl::string_view what) const { return Bad(ToStd(what)); }
  absl::Status Bad(const char* what) const { return Bad(std::string_view(what)); }
  absl::Status Bad(const std::string& what) const { return Bad(std::string_view(what)); }

  const std::string_view text_;
  size_t position_ = 0;
};

absl::StatusOr<uint64_t> CheckLength(std::string_view beginning) {
  if (beginning.size() < kLengthBytes)
    return absl::DataLossError("pack: shorter than the 8 bytes of its header's length");
  const uint64_t length = ReadLength(beginning);
  if (length > kMaxPackHeaderBytes || (kLengthBytes + length) % kPackDataAlignment != 0) {
    return absl::DataLossError(StrCat("pack: a header of ", length, " bytes is none of ours"));
  }
  return length;
}

void AppendEntry(std::string_view name, const PackTensor& tensor, std::string* json) {
  StrAppend(json, json->size() == kLengthBytes + 1 ? "" : ",", "\"", name, "\":{\"dtype\":\"", DTypeName(tensor.dtype),
            "\",\"shape\":[");
  for (size_t i = 0; i < tensor.shape.size(); ++i) StrAppend(json, i == 0 ? "" : ",", tensor.shape[i]);
  StrAppend(json, "],\"data_offsets\":[", tensor.offset, ",", tensor.offset + tensor.size, "]}");
}

}  // namespace

absl::StatusOr<uint64_t> TensorBytes(DType dtype, const std::vector<int64_t>& shape) {
  constexpr uint64_t kMax = uint64_t{1} << 62;
  uint64_t bytes = DTypeBytes(dtype);
  for (int64_t extent : shape) {
    if (extent < 0) return absl::InvalidArgumentError(StrCat("a tensor's extent is ", extent));
    if (extent == 0) return uint64_t{0};
  }
  for (int64_t extent : shape) {
    if (static_cast<uint64_t>(extent) > kMax / bytes)
      return absl::InvalidArgumentError("a tensor's shape is too large");
    bytes *= static_cast<uint64_t>(extent);
  }
  return bytes;
}

absl::StatusOr<PackHeader> ParsePackHeader(std::string_view beginning) {
  ASSIGN_OR_RETURN(const uint64_t length, CheckLength(beginning));
  if (beginning.size() - kLengthBytes < length) return absl::DataLossError("pack: the header is cut off");
  PackHeader header;
  header.data_offset = kLengthBytes + length;
  RETURN_IF_ERROR(HeaderParser(beginning.substr(kLengthBytes, length)).Parse(header.data_offset, &header));
  header.id = Sha256::Of(beginning.substr(0, header.data_offset));
  return header;
}

absl::StatusOr<PackHeader> ReadPackHeader(int fd, std::string_view name) {
  ASSIGN_OR_RETURN(const uint64_t file_size, FileSize(fd, name));
  std::string beginning(kLengthBytes, '\0');
  const auto read_at = [&](size_t from, size_t to) -> absl::Status {
    while (from < to) {
      const ssize_t n = ::pread(fd, beginning.data() + from, to - from, static_cast<off_t>(from));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, StrCat("read ", name));
      if (n == 0) return absl::DataLossError(StrCat(name, ": the file ends at ", from, ", its header at ", to));
      from += static_cast<size_t>(n);
    }
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read_at(0, kLengthBytes));
  absl::StatusOr<uint64_t> length = CheckLength(beginning);
  if (!length.ok()) return Annotate(length.status(), name);
  if (kLengthBytes + *length > file_size) {
    return absl::DataLossError(
        StrCat(name, ": the file ends at ", file_size, ", its header at ", kLengthBytes + *length));
  }
  beginning.resize(kLengthBytes + *length);
  RETURN_IF_ERROR(read_at(kLengthBytes, beginning.size()));
  absl::StatusOr<PackHeader> header = ParsePackHeader(beginning);
  if (!header.ok()) return Annotate(header.status(), name);
  if (header->file_size != file_size) {
    return absl::DataLossError(
        StrCat(name, ": the header announces ", header->file_size, " bytes, the file has ", file_size));
  }
  return header;
}

std::string FormatPackHeader(const std::vector<PackTensor>& tensors, uint64_t data_size, uint64_t room) {
  std::string json(kLengthBytes, '\0');
  json.push_back('{');
  uint64_t end = 0;
  int pads = 0;
  const auto pad_to = [&](uint64_t offset) {
    if (offset == end) return;
    const PackTensor gap{{}, DType::kU8, {static_cast<int64_t>(offset - end)}, end, offset - end};
    AppendEntry(StrCat(kPadPrefix, pads++), gap, &json);
  };
  for (const PackTensor& tensor : tensors) {
    pad_to(tensor.offset);
    AppendEntry(tensor.id.Hex(), tensor, &json);
    end = tensor.offset + tensor.size;
  }
  pad_to(data_size);
  json.push_back('}');
  const uint64_t needed = (json.size() + kPackDataAlignment - 1) / kPackDataAlignment * kPackDataAlignment;
  json.resize(std::max(room, needed), ' ');
  const uint64_t length = json.size() - kLengthBytes;
  for (size_t i = 0; i < kLengthBytes; ++i) json[i] = static_cast<char>(length >> (8 * i));
  return json;
}

}  // namespace editd
