// JSON as the formats need it: strings and numbers written exactly.
#ifndef EDITD_PLUGINS_LIB_FORMATS_JSON_H_
#define EDITD_PLUGINS_LIB_FORMATS_JSON_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace editd::formats {

// Keeps the order of keys: a file that is read, changed in one place and written differs only there.
using Json = nlohmann::ordered_json;

// INVALID_ARGUMENT says the byte. An object is not required.
absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view name);
// Indented by two, a line feed at the end, characters beyond ASCII as they are.
std::string DumpJson(const Json& value);

// Appends `text` (valid UTF-8) with quotes and escapes.
void AppendJsonString(std::string* out, std::string_view text);

// The double whose shortest text is that of `value`: 9.99999974e-06f becomes 1e-05, as whoever wrote the float meant.
double ShortestDouble(float value);

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_JSON_H_
