// What two models have in common: rows of their vocabularies, and places where they cut a text alike.
#ifndef EDITD_PLUGINS_EVALUATE_PAIRING_H_
#define EDITD_PLUGINS_EVALUATE_PAIRING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "plugins/evaluate/subject.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::evaluate {

struct RowPairs {
  std::vector<int64_t> base, other;    // base[i] and other[i] are the same token.
  std::vector<int32_t> other_of_base;  // By row of the base; -1 where the other has none.
  uint64_t base_only = 0, other_only = 0;
  std::string matched_by;  // "id map" or "token text"
};

// By the other's id map if it leads to the base (its rows name tokens that read the same there), else by the tokens'
// texts. Rows without a token take no part.
RowPairs MatchRows(const Subject& base, const Subject& other);

// For each token of the base's segmentation the index of the other's token on the same bytes with the same row, else
// -1.
std::vector<int64_t> AlignTokens(const std::vector<text::TokenSpan>& base, const std::vector<text::TokenSpan>& other,
                                 const RowPairs& rows);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_PAIRING_H_
