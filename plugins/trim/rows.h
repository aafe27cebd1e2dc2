// GatherRows: the rows of a vocabulary tensor (embedding, head, head bias) that stay, and padding rows behind them.
#ifndef EDITD_PLUGINS_TRIM_ROWS_H_
#define EDITD_PLUGINS_TRIM_ROWS_H_

#include <string_view>

#include "editd/plugin.hpp"
#include "plugins/trim/tokenizer_file.h"
#include "storage/base/status.h"

namespace editd::trim {

// True for tensors whose first dimension is the vocabulary, by their names in Hugging Face checkpoints.
bool IsVocabularyTensor(std::string_view name);

// Writes `tensor` (rows x ..., any floating type) as a new tensor of `rows` rows: row map[i] is the old row i, bit for
// bit; the rows behind the last kept one are padding. A padding row is the mean of the kept rows, rounded once: its
// logit is the mean of theirs, so that it takes at most one part in (kept + 1) of the probability, where a zero row
// would win whenever all real logits are negative. Memory: one row.
absl::Status GatherRows(Job& job, const Tensor& tensor, const IdMap& map, int64_t kept, int64_t rows);

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_ROWS_H_
