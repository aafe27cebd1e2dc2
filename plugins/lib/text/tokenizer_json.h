// tokenizer.json, read and checked: what is left is only what the encoder understands.
#ifndef EDITD_PLUGINS_LIB_TEXT_TOKENIZER_JSON_H_
#define EDITD_PLUGINS_LIB_TEXT_TOKENIZER_JSON_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/text/added_tokens.h"
#include "plugins/lib/text/bpe.h"
#include "plugins/lib/text/decoder.h"
#include "plugins/lib/text/normalizer.h"
#include "plugins/lib/text/pre_tokenizer.h"
#include "storage/base/status.h"

namespace editd::text {

struct PostProcessorStep {
  enum Kind : uint8_t {
    kTrim,      // Places of tokens lose the white space of their ends
    kTemplate,  // `prefix` before and `suffix` after a text
  };
  Kind kind;
  bool prefix_space = false;  // kTrim: one space before the first token counts as put there.
  std::vector<TokenId> prefix, suffix;
};

struct TokenizerSpec {
  struct Entry {
    uint32_t begin, size;  // Of `text`.
    TokenId id;
  };

  std::vector<char> text;    // All of model.vocab's strings.
  std::vector<Entry> vocab;  // In the file's order; no string and no id twice.
  StringTable vocab_ids;     // Points into `text`.
  std::vector<Merge> merges;
  std::optional<TokenId> unknown;
  bool fuse_unknown = false;
  bool ignore_merges = false;
  bool byte_fallback = false;
  bool byte_level = false;  // The vocabulary is spelled in the byte alphabet.
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Decoder decoder;
  std::vector<PostProcessorStep> post_processor;
  std::vector<AddedToken> added_tokens;

  std::string_view Text(const Entry& entry) const { return {text.data() + entry.begin, entry.size}; }
};

// Errors as Tokenizer::FromJson has them.
absl::StatusOr<TokenizerSpec> ParseTokenizerJson(std::string_view json);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_TOKENIZER_JSON_H_
