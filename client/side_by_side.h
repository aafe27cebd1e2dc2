// Two texts in columns beside each other, for a terminal of a given width.
#ifndef EDITD_CLIENT_SIDE_BY_SIDE_H_
#define EDITD_CLIENT_SIDE_BY_SIDE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace editd::client {

// Lines are broken between words where that is possible. Each line ends with a newline. Control characters are left
// out.
std::string SideBySide(std::string_view left, std::string_view right, size_t width);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SIDE_BY_SIDE_H_
