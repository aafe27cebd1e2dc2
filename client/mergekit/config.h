// mergekit's YAML, as people have it, turned into a job spec for the plugin "merge".
//
// The format is that of mergekit 0.1 ("merge configuration"): merge_method; models or slices; base_model; parameters;
// dtype, out_dtype; tokenizer_source or tokenizer; chat_template; and random_seed, which cards have. What stands there
// and can't be done is an error with its line; nothing is passed over in silence.
//
// Thread-safe: no state.
#ifndef EDITD_CLIENT_MERGEKIT_CONFIG_H_
#define EDITD_CLIENT_MERGEKIT_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/status.h"

namespace editd::client {

struct MergekitOptions {
  // The ref of each model that the file names. A name that is not here is a ref itself.
  std::map<std::string, std::string> refs;
  std::string output_ref;
  uint64_t seed = 0;
};

struct MergekitSpec {
  std::string text;                // A job spec in text form (proto/editd/v1/job.proto).
  std::vector<std::string> notes;  // Where the result differs from mergekit's by what the file says.
};

// `file` is the name that messages give. INVALID_ARGUMENT has every problem, one a line, each "FILE:LINE: message".
absl::StatusOr<MergekitSpec> SpecOfMergekitYaml(std::string_view yaml, std::string_view file,
                                                const MergekitOptions& options);

}  // namespace editd::client

#endif  // EDITD_CLIENT_MERGEKIT_CONFIG_H_
