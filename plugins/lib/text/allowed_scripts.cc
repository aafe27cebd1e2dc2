#include "plugins/lib/text/allowed_scripts.h"

#include <algorithm>

#include "plugins/lib/text/script.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

bool Continues(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

// The code points that begin with `bytes`, a lead byte and fewer bytes after it than it asks for. None: first > last.
struct CodePoints {
  uint32_t first = 1, last = 0;
};

CodePoints BeginningWith(std::string_view bytes) {
  const auto lead = static_cast<unsigned char>(bytes[0]);
  const int length = lead < 0xc2 || lead > 0xf4 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (static_cast<int>(bytes.size()) >= length) return {};
  uint32_t value = lead & (0x7f >> length);
  for (char c : bytes.substr(1)) {
    if (!Continues(c)) return {};
    value = value << 6 | (static_cast<unsigned char>(c) & 0x3f);
  }
  const int missing = 6 * (length - static_cast<int>(bytes.size()));
  const uint32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  return {std::max(value << missing, least), std::min<uint32_t>(((value + 1) << missing) - 1, 0x10ffff)};
}

}  // namespace

absl::StatusOr<AllowedScripts> AllowedScripts::Of(std::span<const std::string> names) {
  AllowedScripts out;
  out.scripts_.resize(ScriptCount());
  out.scripts_[kScriptCommon] = true;
  out.scripts_[kScriptInherited] = true;
  for (const std::string& name : names) {
    const auto script = ScriptByName(name);
    if (!script.has_value()) {
      std::vector<std::string> known;
      for (size_t i = 0; i < ScriptCount(); ++i) known.emplace_back(ScriptName(static_cast<uint8_t>(i)));
      return absl::InvalidArgumentError(StrCat("no script named \"", name, "\"", DidYouMean(name, known)));
    }
    out.scripts_[*script] = true;
  }
  return out;
}

bool AllowedScripts::Allows(uint32_t code_point) const { return scripts_[ScriptOf(code_point)]; }

void ForEachOutside(std::string_view bytes, const AllowedScripts& allowed,
                    const std::function<void(size_t begin, size_t end)>& outside) {
  size_t at = 0;
  while (at < bytes.size() && Continues(bytes[at])) ++at;  // The end of a character that began before.
  while (at < bytes.size()) {
    int length = 1;
    const uint32_t c = DecodeUtf8(bytes.data() + at, bytes.data() + bytes.size(), &length);
    if (c == 0xfffd && length == 1) {  // No whole character.
      const CodePoints can_be = BeginningWith(bytes.substr(at));
      if (can_be.first <= can_be.last) {
        uint32_t each = can_be.first;
        while (each <= can_be.last && !allowed.Allows(each)) ++each;
        if (each > can_be.last) outside(at, bytes.size());
        return;
      }
    } else if (!allowed.Allows(c)) {
      outside(at, at + static_cast<size_t>(length));
    }
    at += static_cast<size_t>(length);
  }
}

bool IsOutside(std::string_view bytes, const AllowedScripts& allowed) {
  bool out = false;
  ForEachOutside(bytes, allowed, [&](size_t, size_t) { out = true; });
  return out;
}

}  // namespace editd::text
