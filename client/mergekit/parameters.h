// A `parameters:` block: numbers, gradients over layers, and lists of {filter, value}, as the message Parameters of
// proto/editd/plugins/merge/v1/merge.proto has them.
//
// Thread-safe: no state.
#ifndef EDITD_CLIENT_MERGEKIT_PARAMETERS_H_
#define EDITD_CLIENT_MERGEKIT_PARAMETERS_H_

#include "client/mergekit/reader.h"

namespace editd::client {

// Writes `parameters { ... }`; nothing for an empty block.
void WriteParameters(const YAML::Node& node, TextWriter* writer, YamlProblems* problems);

}  // namespace editd::client

#endif  // EDITD_CLIENT_MERGEKIT_PARAMETERS_H_
