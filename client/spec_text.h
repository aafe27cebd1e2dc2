// The text form of a spec. protobuf's reader does the work; it stops at the first error and knows no nearest name.
// Where the error is an unknown field or an unknown value of an enumeration, that field is blanked out and the rest is
// read again, so that all typing errors are told at once.
#ifndef EDITD_CLIENT_SPEC_TEXT_H_
#define EDITD_CLIENT_SPEC_TEXT_H_

#include <google/protobuf/descriptor.h>

#include <string>
#include <string_view>

#include "client/plugin_types.h"
#include "editd/v1/job.pb.h"
#include "storage/base/status.h"

namespace editd::client {

constexpr int kSpecDepthLimit = 64;

// As PluginOf and ParseSpec (client/spec_file.h).
absl::StatusOr<std::string> PluginOfText(std::string_view content, std::string_view name);
absl::StatusOr<v1::JobSpec> ParseSpecText(std::string_view content, std::string_view name, const PluginTypes& types);

// `"REPLACE" is none of its values; did you mean "INVALID_UTF8_REPLACE"?`
std::string NoSuchValue(const google::protobuf::EnumDescriptor& type, std::string_view value);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SPEC_TEXT_H_
