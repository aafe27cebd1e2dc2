#include "storage/base/utf8.h"

#include <cstdint>
#include <cstring>

namespace editd {
namespace {

struct Sequence {
  size_t size;  // Bytes of the well-formed sequence, or of the maximal part of one.
  bool valid;
};

// `text` is not empty.
Sequence NextSequence(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {1, true};
  size_t size;
  uint8_t low = 0x80, high = 0xbf;  // Of the second byte.
  if (first >= 0xc2 && first <= 0xdf) {
    size = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    size = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    size = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  } else {
    return {1, false};
  }
  for (size_t i = 1; i < size; ++i) {
    if (i >= text.size() || byte(i) < low || byte(i) > high) return {i, false};
    low = 0x80;
    high = 0xbf;
  }
  return {size, true};
}

}  // namespace

size_t FindInvalidUtf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight;
    if (text.size() - at >= 8) {
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const Sequence next = NextSequence(text.substr(at));
    if (!next.valid) return at;
    at += next.size;
  }
  return std::string_view::npos;
}

std::string ToValidUtf8(std::string_view text, size_t limit) {
  std::string out;
  while (!text.empty()) {
    const Sequence next = NextSequence(text);
    const std::string_view piece = next.valid ? text.substr(0, next.size) : "\xef\xbf\xbd";
    if (out.size() + piece.size() > limit) break;
    out.append(piece);
    text.remove_prefix(next.size);
  }
  return out;
}

}  // namespace editd
