// Spec files: a job spec as text, binary or JSON, told apart by content, and read so strictly that no typing error gets
// through: an unknown field is an error in each form.
//
// A plugin's message stands in `params` as an Any; its type comes from the plugin's descriptors, which the daemon
// serves. So reading has two steps: which plugin is it (PluginOf), and the whole (ParseSpec) with that plugin's types.
//
// Errors are INVALID_ARGUMENT, "FILE:LINE:COLUMN: message" where the form has lines; an unknown name comes with the
// nearest known one.
#ifndef EDITD_CLIENT_SPEC_FILE_H_
#define EDITD_CLIENT_SPEC_FILE_H_

#include <string>
#include <string_view>

#include "client/plugin_types.h"
#include "editd/v1/job.pb.h"
#include "storage/base/status.h"

namespace editd::client {

enum class SpecForm { kText, kJson, kBinary };

// JSON begins with "{"; text is UTF-8 without control characters; all else is binary.
SpecForm FormOf(std::string_view content);

// Reads a file, or standard input for "-". INVALID_ARGUMENT if it has more than 1 MiB, or nothing.
absl::StatusOr<std::string> ReadSpecFile(const std::string& file);

// What stands in `plugin`. `name` is the file's, for messages. The rest need not be right yet.
absl::StatusOr<std::string> PluginOf(std::string_view content, std::string_view name);

absl::StatusOr<v1::JobSpec> ParseSpec(std::string_view content, std::string_view name, const PluginTypes& types);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SPEC_FILE_H_
