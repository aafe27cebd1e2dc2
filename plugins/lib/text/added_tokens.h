// Added tokens: strings that are cut out of the text before anything else looks at it ("<|im_end|>", a word that an
// edit added). Those with `normalized` are matched on normalised text, the others on the text as it is.
//
// The reference's rules, oddities included: of all matches the leftmost, of these the longest; matches do not overlap;
// single_word drops a match that touches a word character, without looking again inside it; lstrip and rstrip take the
// white space beside the match into the token.
//
// A matcher is immutable once filled.
#ifndef EDITD_PLUGINS_LIB_TEXT_ADDED_TOKENS_H_
#define EDITD_PLUGINS_LIB_TEXT_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/text/bpe.h"
#include "plugins/lib/text/flat_table.h"

namespace editd::text {

struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;
  bool lstrip = false;
  bool rstrip = false;
  bool normalized = false;
};

class AddedTokenMatcher {
 public:
  // A part of a text: an added token, or what is between two of them (`token` is null then).
  struct Part {
    const AddedToken* token;
    size_t begin, end;
  };

  // `form`: what is looked for, the content or its normal form. `token` must outlive the matcher. False if the form is
  // already there.
  bool Add(std::string_view form, const AddedToken* token);

  bool empty() const { return tokens_.empty(); }

  // The parts of `text`, in order; empty ones are left out.
  void Match(std::string_view text, std::vector<Part>* parts) const;

 private:
  // The first place at or after `at` where a token may begin; the text's size if there is none.
  size_t NextFirst(std::string_view text, size_t at) const;
  // The longest token at `at`, or null; its length in `*length`.
  const AddedToken* LongestAt(std::string_view text, size_t at, size_t* length) const;

  std::vector<const AddedToken*> tokens_;
  std::vector<uint32_t> accepts_ = {0};  // By node of the trie: index into tokens_ plus one.
  PairTable edges_;                      // node << 8 | byte -> node
  std::array<bool, 256> first_ = {};     // By byte: a token begins with it.
  std::string firsts_;                   // The same as a list.
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_ADDED_TOKENS_H_
