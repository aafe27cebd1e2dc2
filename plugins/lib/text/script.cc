#include "plugins/lib/text/script.h"

#include <algorithm>
#include <iterator>
#include <string>

namespace editd::text {
namespace {

struct Names {
  std::string_view name, short_name, other;
};
struct ScriptRange {
  uint32_t first, last;
  Script script;
};

constexpr Names kNames[] = {
#define EDITD_SCRIPT_NAMES
#include "plugins/lib/text/script_table.inc"
#undef EDITD_SCRIPT_NAMES
};
constexpr ScriptRange kRanges[] = {
#define EDITD_SCRIPT_RANGES
#include "plugins/lib/text/script_table.inc"
#undef EDITD_SCRIPT_RANGES
};
static_assert(kNames[kScriptUnknown].name == "Unknown" && kNames[kScriptCommon].name == "Common" &&
              kNames[kScriptInherited].name == "Inherited");

std::string Folded(std::string_view name) {
  std::string out;
  for (char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  }
  return out;
}

}  // namespace

Script ScriptOf(uint32_t code_point) {
  const auto* range = std::upper_bound(std::begin(kRanges), std::end(kRanges), code_point,
                                       [](uint32_t c, const ScriptRange& r) { return c < r.first; });
  return range == std::begin(kRanges) || code_point > range[-1].last ? kScriptUnknown : range[-1].script;
}

size_t ScriptCount() { return std::size(kNames); }
std::string_view ScriptName(Script script) { return kNames[script].name; }
std::string_view ScriptShortName(Script script) { return kNames[script].short_name; }

std::optional<Script> ScriptByName(std::string_view name) {
  const std::string wanted = Folded(name);
  if (wanted.empty()) return std::nullopt;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    for (std::string_view known : {kNames[i].name, kNames[i].short_name, kNames[i].other}) {
      if (Folded(known) == wanted) return static_cast<Script>(i);
    }
  }
  return std::nullopt;
}

}  // namespace editd::text
