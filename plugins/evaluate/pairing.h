// What the vocabularies of two models have in common.
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

  bool Same(int32_t base_token, int32_t other_token) const { return other_of_base[base_token] == other_token; }
};

// By the other's id map if it leads to the base (its rows name tokens that read the same there), else by the tokens'
// texts. Rows without a token take no part, unless all tokens have the same id in both: then such rows are
// matched too.
RowPairs MatchRows(const Subject& base, const Subject& other);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_PAIRING_H_
