// Vocabulary: the tokens of the result where the models' differ, and for each token the row that each model gives to
// it.
//
// Tokens are the same if they are the same bytes, or, for those that text can't make (specials, added tokens), if they
// are spelled the same or have the same role (bos, eos, pad, unk). A byte's token ("<0x0A>") is matched with a byte's
// token. The rule for a row that a model lacks: the spec's for that token; else that of the only model that has it;
// else the base's; else the mean of those that have it; else zeros.
//
// Immutable once made; rows are read by any thread.
#ifndef EDITD_PLUGINS_MERGE_VOCABULARY_H_
#define EDITD_PLUGINS_MERGE_VOCABULARY_H_

#include <memory>
#include <string>
#include <vector>

#include "editd/plugin.hpp"
#include "plugins/lib/text/tokenizer.h"
#include "plugins/merge/parameters.h"
#include "plugins/merge/row_gather.h"

namespace editd::merge {

struct Vocabulary {
  size_t owner = 0;                // The input whose tokenizer's files the result has.
  int64_t used = 0;                // Rows that have a token.
  int64_t rows = 0;                // With padding.
  std::string tokenizer_json;      // Empty: the owner's as it is.
  std::vector<RowMap> models;      // By input.
  std::vector<std::string> notes;  // What the user should know.
};

// True for the tensors that have a row a token.
bool HasTokenRows(std::string_view tensor);

// Aligns the models' tokenizers as `spec` says. `base` is the input that a union begins with. INVALID_ARGUMENT: an
// input has no tokenizer that can be read, or a rule names a token that its model has not.
absl::StatusOr<Vocabulary> AlignVocabularies(const v1::Vocabulary& spec, const Job& job, size_t base);

// For a spec without a vocabulary: INVALID_ARGUMENT names the first id that means different tokens in two inputs.
// Inputs without a tokenizer.json are not looked at.
absl::Status CheckSameVocabulary(const Job& job);

}  // namespace editd::merge

#endif  // EDITD_PLUGINS_MERGE_VOCABULARY_H_
