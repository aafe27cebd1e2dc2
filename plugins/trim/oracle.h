// The oracle of a trim: what must hold between the old tokenizer and the new one before anything is published.
#ifndef EDITD_PLUGINS_TRIM_ORACLE_H_
#define EDITD_PLUGINS_TRIM_ORACLE_H_

#include "editd/plugin.hpp"
#include "editd/plugins/trim/v1/trim.pb.h"
#include "plugins/lib/text/tokenizer.h"
#include "plugins/trim/tokenizer_file.h"
#include "storage/base/status.h"

namespace editd::trim {

// Checks 1 to 3 of README.md. A difference refuses the job's output and says where it is.
absl::Status Verify(const editd::plugins::trim::v1::TrimSpec& spec, Job& job, const text::Tokenizer& before,
                    const text::Tokenizer& after, const IdMap& map, editd::plugins::trim::v1::TrimResult* result);

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_ORACLE_H_
