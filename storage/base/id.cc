#include "storage/base/id.h"

#include "storage/base/strings.h"

namespace editd {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

absl::StatusOr<Id> Id::FromHex(std::string_view hex) {
  if (hex.size() != 2 * kBytes || !IsHex(hex)) {
    return absl::InvalidArgumentError(StrCat("\"", hex.substr(0, 80), "\" is not an id: 64 lower-case hex digits"));
  }
  Id id;
  for (size_t i = 0; i < kBytes; ++i) {
    id.bytes[i] = static_cast<uint8_t>(HexDigit(hex[2 * i]) * 16 + HexDigit(hex[2 * i + 1]));
  }
  return id;
}

absl::StatusOr<Id> Id::FromBytes(std::string_view raw) {
  if (raw.size() != kBytes) return absl::InvalidArgumentError(StrCat("an id has 32 bytes, not ", raw.size()));
  Id id;
  std::memcpy(id.bytes.data(), raw.data(), kBytes);
  return id;
}

std::string Id::Hex() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex(2 * kBytes, '0');
  for (size_t i = 0; i < kBytes; ++i) {
    hex[2 * i] = kDigits[bytes[i] >> 4];
    hex[2 * i + 1] = kDigits[bytes[i] & 15];
  }
  return hex;
}

bool IsHex(std::string_view text) {
  for (char c : text) {
    if (HexDigit(c) < 0) return false;
  }
  return !text.empty();
}

}  // namespace editd
