// The JSON form of a spec. protobuf's reader does the work; a walk before it finds unknown names, because protobuf
// tells neither their place nor the nearest known one. Field names are taken as the proto has them, and in camelCase.
#ifndef EDITD_CLIENT_SPEC_JSON_H_
#define EDITD_CLIENT_SPEC_JSON_H_

#include <string>
#include <string_view>

#include "client/plugin_types.h"
#include "editd/v1/job.pb.h"
#include "storage/base/status.h"

namespace editd::client {

// As PluginOf and ParseSpec (client/spec_file.h).
absl::StatusOr<std::string> PluginOfJson(std::string_view content, std::string_view name);
absl::StatusOr<v1::JobSpec> ParseSpecJson(std::string_view content, std::string_view name, const PluginTypes& types);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SPEC_JSON_H_
