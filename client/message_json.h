// Messages as JSON, one object a line, with the proto's field names.
//
// As protobuf's own JSON, but for two things that scripts want: 64-bit integers are numbers, and fields are there even
// if they hold their default (messages and oneofs only if set). What parses protobuf JSON parses this.
#ifndef EDITD_CLIENT_MESSAGE_JSON_H_
#define EDITD_CLIENT_MESSAGE_JSON_H_

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "client/plugin_types.h"

namespace editd::client {

// An Any of a type that `types` lacks (it may be null) has its bytes in base64 as "value".
std::string ToJson(const google::protobuf::Message& message, const PluginTypes* types);

// A JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);
// The shortest digits that read back as the same number; infinities and NaN as strings.
std::string JsonNumber(double value);

}  // namespace editd::client

#endif  // EDITD_CLIENT_MESSAGE_JSON_H_
