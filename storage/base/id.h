// Ids: SHA-256 digests that name everything in the store. 32 bytes in memory and on disk, 64 hex digits on the wire and
// before people.
#ifndef EDITD_STORAGE_BASE_ID_H_
#define EDITD_STORAGE_BASE_ID_H_

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace editd {

struct Id {
  static constexpr size_t kBytes = 32;
  std::array<uint8_t, kBytes> bytes{};

  // INVALID_ARGUMENT unless `hex` is 64 lower-case hex digits.
  static absl::StatusOr<Id> FromHex(std::string_view hex);
  // `raw` has 32 bytes; INVALID_ARGUMENT if not.
  static absl::StatusOr<Id> FromBytes(std::string_view raw);

  std::string Hex() const;
  std::string_view view() const { return {reinterpret_cast<const char*>(bytes.data()), kBytes}; }
  // True for the id of nothing, 32 zero bytes: no content has it.
  bool empty() const { return *this == Id{}; }

  auto operator<=>(const Id&) const = default;

  template <typename H>
  friend H AbslHashValue(H state, const Id& id) {
    return H::combine(std::move(state), id.bytes);
  }
};

// True if `text` is one or more lower-case hex digits.
bool IsHex(std::string_view text);

}  // namespace editd

template <>
struct std::hash<editd::Id> {
  size_t operator()(const editd::Id& id) const {
    size_t value;  // A digest's first bytes are as good as any hash of it.
    std::memcpy(&value, id.bytes.data(), sizeof(value));
    return value;
  }
};

#endif  // EDITD_STORAGE_BASE_ID_H_
