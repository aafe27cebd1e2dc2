// RemapFiles: the files beside tokenizer.json that name token ids, rewritten for a smaller vocabulary.
//
// config.json and generation_config.json (at any depth: nested text_config, eos lists, suppressed tokens, bad words),
// tokenizer_config.json (added_tokens_decoder), added_tokens.json, vocab.json and merges.txt. What a function does not
// change keeps its order and value.
#ifndef EDITD_PLUGINS_TRIM_REMAP_FILES_H_
#define EDITD_PLUGINS_TRIM_REMAP_FILES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/trim/tokenizer_file.h"
#include "storage/base/status.h"

namespace editd::trim {

// The ids that config.json or generation_config.json gives a role (keys ending in _token_id or _token_ids). Negative
// ids and ids at or above `id_limit` are left out: they name no token.
absl::StatusOr<std::vector<int32_t>> ConfigTokenIds(std::string_view file_name, std::string_view json,
                                                    int32_t id_limit);

// config.json or generation_config.json. `rows` is the new embedding's row count; each "vocab_size" that equals
// `old_rows` becomes it. Suppressed tokens and bad words that are gone are dropped from their lists.
absl::StatusOr<std::string> RemapConfig(std::string_view file_name, std::string_view json, const IdMap& map,
                                        int64_t old_rows, int64_t rows);

// tokenizer_config.json: the keys of added_tokens_decoder.
absl::StatusOr<std::string> RemapTokenizerConfig(std::string_view json, const IdMap& map);

// added_tokens.json and vocab.json: {"token": id}.
absl::StatusOr<std::string> RemapTokenIds(std::string_view file_name, std::string_view json, const IdMap& map);

// merges.txt: a line stays if tokenizer.json's merge of the same two tokens stays.
absl::StatusOr<std::string> RemapMerges(std::string_view text, const TokenizerFile& file, const IdMap& map);

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_REMAP_FILES_H_
