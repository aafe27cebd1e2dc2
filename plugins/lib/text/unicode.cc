#include "plugins/lib/text/unicode.h"

#include <simdjson.h>

#include <cstring>
#include <memory>

#include "plugins/lib/text/nfc.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

struct FlagRange {
  uint32_t first, last;
  uint8_t flags;
};

constexpr FlagRange kFlagRanges[] = {
#include "plugins/lib/text/unicode_tables.inc"
};

const uint8_t* MakeFlags() {
  auto* flags = new uint8_t[0x110000]();
  for (const FlagRange& range : kFlagRanges) {
    std::memset(flags + range.first, range.flags, range.last - range.first + 1);
  }
  MarkUnstable(Form::kNfc, flags, kNfcUnstable);
  return flags;
}

// The length of the valid sequence at `p`, or minus the length of the maximal invalid part there.
int SequenceAt(const unsigned char* p, const unsigned char* end) {
  const unsigned lead = p[0];
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return -1;
  const int length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  // The second byte's range rules out overlong forms, surrogates and what lies beyond U+10FFFF.
  const unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (end - p < 2 || p[1] < low || p[1] > high) return -1;
  for (int i = 2; i < length; ++i) {
    if (end - p <= i || (p[i] & 0xc0) != 0x80) return -i;
  }
  return length;
}

}  // namespace

const uint8_t* CodePointFlags() {
  static const uint8_t* const flags = MakeFlags();
  return flags;
}

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xc0 | c >> 6));
    out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | c >> 12));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | c >> 18));
    out->push_back(static_cast<char>(0x80 | (c >> 12 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (c >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (c & 0x3f)));
  }
}

size_t FirstInvalidUtf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return text.size();
  const auto* begin = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = begin + text.size();
  const auto* p = begin;
  while (p < end) {
    uint64_t eight;
    while (end - p >= 8 && (std::memcpy(&eight, p, 8), (eight & 0x8080808080808080u) == 0)) p += 8;
    if (p == end) break;
    const int length = SequenceAt(p, end);
    if (length < 0) return p - begin;
    p += length;
  }
  return text.size();
}

std::string Utf8Lossy(std::string_view bytes) {
  const size_t first = FirstInvalidUtf8(bytes);
  std::string out(bytes.substr(0, first));
  const auto* end = reinterpret_cast<const unsigned char*>(bytes.data()) + bytes.size();
  for (size_t i = first; i < bytes.size();) {
    const int length = SequenceAt(reinterpret_cast<const unsigned char*>(bytes.data()) + i, end);
    if (length > 0) {
      out.append(bytes.substr(i, length));
      i += length;
    } else {
      out.append("\xef\xbf\xbd");
      i -= length;
    }
  }
  return out;
}

absl::Status CheckUtf8(std::string_view text, std::string_view name) {
  const size_t at = FirstInvalidUtf8(text);
  if (at == text.size()) return absl::OkStatus();
  std::string bytes;
  for (size_t i = at; i < text.size() && i < at + 2; ++i) {
    absl::StrAppend(&bytes, i == at ? "0x" : " 0x", absl::Hex(static_cast<unsigned char>(text[i]), absl::kZeroPad2));
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] >= 'a' && bytes[i] <= 'f') bytes[i] = static_cast<char>(bytes[i] - 'a' + 'A');
  }
  return absl::InvalidArgumentError(StrCat("\"", name, "\" is not UTF-8 at byte ", at, " (", bytes, ")"));
}

}  // namespace editd::text
