// Rules: what a spec's `keep` says, applied to a vocabulary.
#ifndef EDITD_PLUGINS_TRIM_RULES_H_
#define EDITD_PLUGINS_TRIM_RULES_H_

#include "editd/plugin.hpp"
#include "editd/plugins/trim/v1/trim.pb.h"
#include "plugins/lib/text/corpus.h"
#include "plugins/lib/text/tokenizer.h"
#include "plugins/trim/keep_set.h"
#include "storage/base/status.h"

namespace editd::trim {

// Fills `keep` (closed, pruned) and the counts in `result`. Errors name the field: a corpus that is not UTF-8 with the
// byte's position, a listed token that does not exist with the nearest one, rules that keep nothing.
absl::Status ApplyRules(const editd::plugins::trim::v1::TrimSpec& spec, Job& job, const text::Tokenizer& tokenizer,
                        const TokenizerFile& file, KeepSet* keep, editd::plugins::trim::v1::TrimResult* result);

// A corpus that the spec names, with what the spec says of bytes that are not UTF-8.
text::CorpusFile ToCorpus(const File& file, const editd::plugins::trim::v1::TrimSpec& spec,
                          const editd::plugins::trim::v1::Corpus& corpus);

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_RULES_H_
