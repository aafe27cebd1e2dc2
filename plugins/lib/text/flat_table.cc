#include "plugins/lib/text/flat_table.h"

#include <sys/random.h>

namespace editd::text {

uint64_t HashSecret() {
  static const uint64_t secret = [] {
    uint64_t value = 0x243f6a8885a308d3u;
    if (::getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value) value ^= reinterpret_cast<uintptr_t>(&value);
    return value;
  }();
  return secret;
}

}  // namespace editd::text
