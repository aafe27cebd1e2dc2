// The Unicode property Script: to which writing system a character belongs ("Latin", "Han"). Characters of several are
// "Common" (digits, punctuation) or "Inherited" (marks that take the script of their base).
//
// Table: tools/make_script_table.py, of Unicode 18.0. Constant; any thread may read.
#ifndef EDITD_PLUGINS_LIB_TEXT_SCRIPT_H_
#define EDITD_PLUGINS_LIB_TEXT_SCRIPT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace editd::text {

using Script = uint8_t;
inline constexpr Script kScriptUnknown = 0;  // Code points that no script has (yet), surrogates, private use.
inline constexpr Script kScriptCommon = 1;
inline constexpr Script kScriptInherited = 4;

Script ScriptOf(uint32_t code_point);

// Scripts are numbered from 0 to ScriptCount() - 1.
size_t ScriptCount();
std::string_view ScriptName(Script script);       // "Latin"
std::string_view ScriptShortName(Script script);  // "Latn"

// By long or short name; case, spaces, "_" and "-" do not matter.
std::optional<Script> ScriptByName(std::string_view name);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_SCRIPT_H_
