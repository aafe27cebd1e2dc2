// StrCat for std::string_view. Debian's abseil keeps a string_view type of its own, which std::string_view does not
// convert to; these few lines are the bridge, so that our code says std::string_view everywhere.
#ifndef EDITD_STORAGE_BASE_STRINGS_H_
#define EDITD_STORAGE_BASE_STRINGS_H_

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace editd {

inline absl::string_view ToAbsl(std::string_view s) { return absl::string_view(s.data(), s.size()); }
inline std::string_view ToStd(absl::string_view s) { return std::string_view(s.data(), s.size()); }

namespace internal {
template <typename T>
const T& ForAbsl(const T& value) {
  return value;
}
inline absl::string_view ForAbsl(const std::string_view& value) { return ToAbsl(value); }
}  // namespace internal

// absl::StrCat, with std::string_view among the pieces.
template <typename... Pieces>
std::string StrCat(const Pieces&... pieces) {
  return absl::StrCat(internal::ForAbsl(pieces)...);
}

// absl::StrAppend, the same.
template <typename... Pieces>
void StrAppend(std::string* out, const Pieces&... pieces) {
  absl::StrAppend(out, internal::ForAbsl(pieces)...);
}

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_STRINGS_H_
