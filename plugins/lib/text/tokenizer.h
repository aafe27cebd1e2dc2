// A byte-level BPE tokenizer, read from the bytes of a tokenizer.json. It gives the same ids and the same text as the
// reference, HF tokenizers, does, on every text; a feature that it does not understand is refused by name, with its
// place in the file, rather than approximated.
//
// Understood: model BPE (either form of merges, ignore_merges, unk_token, fuse_unk); normalizer none, NFC or a Sequence
// of them; pre-tokenizers ByteLevel, Digits, Split by a known pattern (splitter.h) and Sequences of them; decoder
// ByteLevel (with Fuse); post-processors ByteLevel, TemplateProcessing; added tokens with all flags.
//
// A Tokenizer is immutable and may be shared by threads. An Encoder is one thread's: it has the cache of pre-tokens, so
// keep it for as long as there is text.
#ifndef EDITD_PLUGINS_LIB_TEXT_TOKENIZER_H_
#define EDITD_PLUGINS_LIB_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plugins/lib/text/added_tokens.h"
#include "plugins/lib/text/bpe.h"
#include "plugins/lib/text/flat_table.h"
#include "plugins/lib/text/nfc.h"
#include "plugins/lib/text/splitter.h"
#include "plugins/lib/text/tokenizer_json.h"
#include "storage/base/status.h"

namespace editd::text {

class Encoder;

// A token in a text: the bytes that it was made from. Where NFC changed the text, all tokens that touch the changed
// part have the whole of it.
struct TokenSpan {
  TokenId id;
  size_t begin, end;
};

class Tokenizer {
 public:
  // `json`: the bytes of a tokenizer.json. INVALID_ARGUMENT if it is broken, UNIMPLEMENTED if something in it is not
  // understood; both name the place: `tokenizer.json: pre_tokenizer.pretokenizers[1].type: "Metaspace" is not
  // supported`.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromJson(std::string_view json);
  ~Tokenizer();

  // One more than the highest id: as many rows as an embedding needs.
  size_t size() const { return bytes_end_.size(); }
  // Ids below size() may have no token. (Then also TokenText and TokenBytes are empty.)
  bool HasToken(TokenId id) const { return id < size() && kinds_[id] != kHole; }
  // True for a token of model.vocab (an added token may be one too).
  bool InModel(TokenId id) const { return id < size() && (kinds_[id] & kModel); }
  bool IsAdded(TokenId id) const { return id < size() && (kinds_[id] & kAdded); }
  // True for what decoding may skip: an added token with `special`.
  bool IsSpecial(TokenId id) const { return id < size() && (kinds_[id] & kSpecial); }

  // The token as it stands in the file, "Ġthe". An added token: its content.
  std::string_view TokenText(TokenId id) const;
  // The bytes that it decodes to, " the".
  std::string_view TokenBytes(TokenId id) const;
  // The id of a token as it stands in the file; added tokens come first.
  std::optional<TokenId> IdOf(std::string_view text) const;
  // The token that stands for one byte, if there is one.
  std::optional<TokenId> ByteTokenId(uint8_t byte) const;

  // By rank. A merge is here as often as the file lists it.
  const std::vector<Merge>& merges() const { return spec_.merges; }
  // In the file's order.
  const std::vector<AddedToken>& added_tokens() const { return spec_.added_tokens; }
  // What encoding with special tokens puts before and after a text ("<|begin_of_text|>").
  const std::vector<TokenId>& prefix() const { return spec_.prefix; }
  const std::vector<TokenId>& suffix() const { return spec_.suffix; }
  // The unknown token, if the model has one.
  std::optional<TokenId> unknown() const { return spec_.unknown; }
  bool nfc() const { return spec_.nfc; }
  bool ignore_merges() const { return spec_.ignore_merges; }
  const Pipeline& pipeline() const { return spec_.pipeline; }

  // `text` must be UTF-8 (CheckUtf8); bytes that are not are encoded as they are, outside of words. Borrows an Encoder,
  // so any thread may call it.
  std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens) const;

  // As the reference decodes: the tokens' bytes one after the other, with every invalid part as U+FFFD; ids without a
  // token are skipped.
  std::string Decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const;
  // The same before invalid parts are replaced.
  std::string DecodeBytes(const std::vector<TokenId>& ids, bool skip_special_tokens) const;

  // True if cutting any text between a character that is no white space and a space (U+0020) never changes how it is
  // encoded: no added token can lie across such a place.
  bool CutsAtSpaces() const { return cuts_at_spaces_; }

 private:
  friend class Encoder;
  enum Kind : uint8_t { kHole = 0, kModel = 1, kAdded = 2, kSpecial = 4, kSkip = 8 };

  explicit Tokenizer(TokenizerSpec spec);
  absl::Status Build();

  TokenizerSpec spec_;
  std::vector<uint8_t> kinds_;                               // By id.
  std::vector<std::string_view> texts_;                      // By id; of spec_.
  std::string bytes_;                                        // All tokens' bytes, by id.
  std::vector<uint32_t> bytes_end_;                          // By id.
  std::unordered_map<std::string_view, TokenId> added_ids_;  // By content.
  TokenId byte_tokens_[256];
  Bpe bpe_;
  AddedTokenMatcher raw_, normalized_;
  bool cuts_at_spaces_ = false;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Encoder>> idle_;  // Guarded by mutex_.
};

// Encodes with a cache of pre-tokens, bounded to about 16 MB. Thread-compatible.
class Encoder {
 public:
  explicit Encoder(const Tokenizer* tokenizer);  // Not owned; must outlive this.
  ~Encoder();

  // Appends the ids of `text` to `*ids`.
  void Encode(std::string_view text, bool add_special_tokens, std::vector<TokenId>* ids);
  // The same with the place of each token in `text`; the tokenizer's prefix and suffix have empty places.
  void EncodeSpans(std::string_view text, bool add_special_tokens, std::vector<TokenSpan>* spans);
  // Adds to counts[id] (tokenizer.size() of them) how often each token occurs, special tokens not added. Returns how
  // many tokens that were.
  uint64_t Count(std::string_view text, uint64_t* counts);

  void ClearCache();

 private:
  class Cache;

  template <typename OnToken, typename OnPiece>
  void Walk(std::string_view text, OnToken&& on_token, OnPiece&& on_piece);
  // The tokens of a pre-token; valid until the next call.
  struct Ids {
    const TokenId* data;
    size_t size;
  };
  Ids Piece(std::string_view piece);
  bool WholePiece(std::string_view piece, TokenId* id);

  const Tokenizer* const tokenizer_;
  std::unique_ptr<Cache> cache_;
  Bpe::Scratch scratch_;
  std::vector<TokenId> ids_;
  std::string alphabet_, normal_;
  std::vector<AddedTokenMatcher::Part> raw_parts_, normal_parts_;
  std::vector<NfcSpan> nfc_spans_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_TOKENIZER_H_
