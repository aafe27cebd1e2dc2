// TokenizerFile: a tokenizer.json opened for editing: its vocabulary, merges and added tokens by id, and the spans of
// text where ids stand.
//
// Rewrite() writes the file for a smaller vocabulary: vocabulary, merges, added tokens, post-processor, padding. What
// it does not change keeps its bytes. Encoding is not done here; text::Tokenizer reads the result.
//
// Immutable after Open; the text must outlive it.
#ifndef EDITD_PLUGINS_TRIM_TOKENIZER_FILE_H_
#define EDITD_PLUGINS_TRIM_TOKENIZER_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plugins/lib/formats/json_spans.h"
#include "storage/base/status.h"

namespace editd::trim {

// Two tokens that become one. In the order of the file, which is the order of priority.
struct Merge {
  int32_t left;
  int32_t right;
  int32_t result;
};

struct AddedToken {
  int32_t id;
  std::string content;
  bool special;
};

// old id -> new id, or -1 where the token goes. Increasing over the ids that stay.
using IdMap = std::vector<int32_t>;

class TokenizerFile {
 public:
  // Reads `json`. INVALID_ARGUMENT names what is missing or of another kind; only "BPE" models can be edited.
  static absl::StatusOr<TokenizerFile> Open(std::string_view json);

  // One more than the largest id.
  int32_t id_limit() const { return static_cast<int32_t>(tokens_.size()); }
  // A token as the vocabulary spells it (byte-level tokens in the 256-character alphabet); an added token's content.
  // Empty if no token has the id.
  const std::string& token(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  bool exists(int32_t id) const { return exists_[static_cast<size_t>(id)]; }
  // The id of a token so spelled, or -1.
  int32_t Find(const std::string& token) const;
  const std::vector<Merge>& merges() const { return merges_; }
  const std::vector<AddedToken>& added_tokens() const { return added_; }
  // Number of ids that have a token.
  size_t token_count() const { return token_count_; }

  // The file for the tokens that `map` keeps. FAILED_PRECONDITION names an id in the post-processor that goes.
  absl::StatusOr<std::string> Rewrite(const IdMap& map) const;

  // Merges that stay: both parts and the result are kept.
  static bool Keeps(const IdMap& map, const Merge& merge) {
    return map[static_cast<size_t>(merge.left)] >= 0 && map[static_cast<size_t>(merge.right)] >= 0 &&
           map[static_cast<size_t>(merge.result)] >= 0;
  }

 private:
  struct Entry {
    std::string_view key;  // With quotes.
    int32_t id;
  };

  absl::Status ReadVocabulary(std::string_view value);
  absl::Status ReadMerges(std::string_view value);
  absl::Status ReadAddedTokens(std::string_view value);
  absl::Status AddToken(int32_t id, std::string token, std::string_view where);

  std::string_view json_;
  std::string_view vocabulary_span_, merges_span_, added_span_, post_processor_span_, padding_span_;
  std::vector<Entry> entries_;
  std::vector<std::string> tokens_;
  std::vector<bool> exists_;
  size_t token_count_ = 0;
  std::unordered_map<std::string, int32_t> ids_;
  std::vector<Merge> merges_;
  std::vector<std::string_view> merge_spans_;
  std::vector<AddedToken> added_;
  std::vector<std::string_view> added_spans_;
};

// Replaces each id below `value` that the post-processor's known kinds hold. Exposed for tests.
absl::StatusOr<std::string> RewritePostProcessor(std::string_view value, const IdMap& map);

}  // namespace editd::trim

#endif  // EDITD_PLUGINS_TRIM_TOKENIZER_FILE_H_
