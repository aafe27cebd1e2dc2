// UTF-8: where text stops being it, and a repaired copy for places that need valid text (messages, protobuf strings).
#ifndef EDITD_STORAGE_BASE_UTF8_H_
#define EDITD_STORAGE_BASE_UTF8_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace editd {

// The position of the first byte that does not belong to a well-formed sequence (Unicode 15, table 3-7: no overlong
// forms, no surrogates, nothing above U+10FFFF); npos if there is none.
size_t FindInvalidUtf8(std::string_view text);

inline bool IsUtf8(std::string_view text) { return FindInvalidUtf8(text) == std::string_view::npos; }

// `text` with each maximal ill-formed part as U+FFFD (the practice that Unicode recommends and Python follows), cut to
// at most `limit` bytes at a character.
std::string ToValidUtf8(std::string_view text, size_t limit = std::string_view::npos);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_UTF8_H_
