#include "plugins/lib/text/byte_alphabet.h"

#include <array>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

struct Alphabet {
  std::array<uint16_t, 256> to = {};
  std::array<int16_t, 0x144> from = {};
  constexpr Alphabet() {
    for (auto& byte : from) byte = -1;
    uint16_t next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      to[b] = printable ? static_cast<uint16_t>(b) : next++;
      from[to[b]] = static_cast<int16_t>(b);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

uint32_t ByteToAlphabet(uint8_t byte) { return kAlphabet.to[byte]; }

void AppendAlphabet(std::string_view bytes, std::string* out) {
  for (char byte : bytes) AppendUtf8(kAlphabet.to[static_cast<uint8_t>(byte)], out);
}

std::string ToAlphabet(std::string_view bytes) {
  std::string out;
  AppendAlphabet(bytes, &out);
  return out;
}

bool AppendFromAlphabet(std::string_view text, std::string* bytes) {
  const size_t size = bytes->size();
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    int length;
    const uint32_t c = DecodeUtf8(p, end, &length);
    if (c >= kAlphabet.from.size() || kAlphabet.from[c] < 0) {
      bytes->resize(size);
      return false;
    }
    bytes->push_back(static_cast<char>(kAlphabet.from[c]));
    p += length;
  }
  return true;
}

}  // namespace editd::text
