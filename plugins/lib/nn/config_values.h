// Reading single values of a config.json. Errors name the key.
//
// Thread-safe: functions of their arguments.
#ifndef EDITD_PLUGINS_LIB_NN_CONFIG_VALUES_H_
#define EDITD_PLUGINS_LIB_NN_CONFIG_VALUES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace editd::nn {

using Json = nlohmann::json;

// INVALID_ARGUMENT: the value at `key` makes no sense.
absl::Status Unusable(std::string_view key, std::string_view what);
// UNIMPLEMENTED: it makes sense, and is not computed here.
absl::Status NotComputed(std::string_view key, const Json& value);

// The value at `key`, or null where it is absent or null.
const Json& At(const Json& object, const char* key);

// A positive whole number, a positive number, a truth value; `otherwise` where it is absent or null.
absl::StatusOr<int64_t> Size(const Json& object, const char* key, std::optional<int64_t> otherwise = std::nullopt);
absl::StatusOr<double> Real(const Json& object, const char* key, std::optional<double> otherwise = std::nullopt);
absl::StatusOr<bool> Flag(const Json& object, const char* key, bool otherwise);

}  // namespace editd::nn

#endif  // EDITD_PLUGINS_LIB_NN_CONFIG_VALUES_H_
