// A BPE tokenizer, read from the bytes of a tokenizer.json. It gives the same ids, places and text as the reference, HF
// tokenizers, does, on every text; a feature that it does not understand is refused by name, with its place in the
// file, rather than approximated.
//
// Understood: model BPE over bytes (GPT-2's alphabet) or over characters, with byte_fallback, fuse_unk, ignore_merges;
// the normalizers, pre-tokenizers, post-processors and decoders that README.md lists; added tokens with all flags.
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
#include "plugins/lib/text/normal_text.h"
#include "plugins/lib/text/shared_pieces.h"
#include "plugins/lib/text/tally.h"
#include "plugins/lib/text/tokenizer_json.h"
#include "storage/base/status.h"

namespace editd::text {

class Encoder;

// A token in a text, and the bytes that it was made from.
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
  // The token that stands for one byte ("Ġ", "<0x20>"), if there is one.
  std::optional<TokenId> ByteTokenId(uint8_t byte) const;

  // By rank. A merge is here as often as the file lists it.
  const std::vector<Merge>& merges() const { return spec_.merges; }
  // In the file's order.
  const std::vector<AddedToken>& added_tokens() const { return spec_.added_tokens; }
  // What encoding with special tokens puts before and after a text ("<|begin_of_text|>").
  const std::vector<TokenId>& prefix() const { return prefix_; }
  const std::vector<TokenId>& suffix() const { return suffix_; }
  // The unknown token, if the model has one.
  std::optional<TokenId> unknown() const { return spec_.unknown; }
  // What must stay in the vocabulary for every text to be spelled: the tokens of single bytes; the unknown token; those
  // of characters that the normalizer or pre-tokenizer puts in; and, where bytes are missing, those of all characters.
  std::vector<TokenId> Leaves() const;
  bool ignore_merges() const { return spec_.ignore_merges; }
  // True if the vocabulary is spelled in GPT-2's byte alphabet; else in characters.
  bool byte_level() const { return spec_.byte_level; }
  const Normalizer& normalizer() const { return spec_.normalizer; }

  // An encoder that has been used before, if one is idle; give it back. Any thread may call these.
  std::unique_ptr<Encoder> Borrow() const;
  void GiveBack(std::unique_ptr<Encoder> encoder) const;

  // `text` must be UTF-8 (CheckUtf8); bytes that are not are encoded as they are, outside of words. Borrows an Encoder,
  // so any thread may call it.
  std::vector<TokenId> Encode(std::string_view text, bool add_special_tokens) const;

  // As the reference decodes, with bytes that are no UTF-8 as U+FFFD; ids without a token are skipped.
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
  absl::Status BuildAddedTokens();
  absl::Status BuildLeaves();
  void BuildTokenBytes();
  bool FindCuts() const;
  std::string DecodeTo(const std::vector<TokenId>& ids, bool skip_special_tokens, bool raw) const;

  TokenizerSpec spec_;
  std::vector<uint8_t> kinds_;                               // By id.
  std::vector<std::string_view> texts_;                      // By id; of spec_.
  std::vector<std::string> forms_;                           // Of added tokens: what is looked for.
  std::vector<const std::string*> form_of_;                  // By id; null: no added token.
  std::string bytes_;                                        // All tokens' bytes, by id.
  std::vector<uint32_t> bytes_end_;                          // By id.
  std::unordered_map<std::string_view, TokenId> added_ids_;  // By content.
  TokenId byte_tokens_[256];
  Bpe bpe_;
  AddedTokenMatcher raw_, normalized_;
  std::vector<TokenId> prefix_, suffix_;
  bool cuts_at_spaces_ = false;
  bool cuts_at_metaspaces_ = false;  // Nothing merges across a place before which is no U+2581 and after which is one.
  SplitterKind only_splitter_ = SplitterKind::kNone;  // All that the pre-tokenizer does.
  bool simple_ = false;  // A splitter of words, and before it only forms of Unicode and added tokens of the raw text.
  bool drops_bytes_ = false;   // byte_level(), and of some bytes nothing is left.
  bool needs_places_ = false;  // Where a text is cut depends on where it is from.

  mutable SharedPieces shared_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Encoder>> idle_;  // Guarded by mutex_.
};

// Encodes with a cache of pre-tokens of its own, below 18 MB (PieceCache::kMostBytes), behind which is the tokenizer's,
// 8 MB for all encoders. Thread-compatible.
class Encoder {
 public:
  explicit Encoder(const Tokenizer* tokenizer);  // Not owned; must outlive this.
  ~Encoder();

  // Appends the ids of `text` to `*ids`.
  void Encode(std::string_view text, bool add_special_tokens, std::vector<TokenId>* ids);
  // The same with the place of each token in `text`, so that ends never go back and each byte counts for one token (a
  // part that normalising changed: for all tokens that touch it). The prefix and suffix have empty places.
  void EncodeSpans(std::string_view text, bool add_special_tokens, std::vector<TokenSpan>* spans);
  // The same with the places that the reference gives (as bytes): a token that is a part of a character has the whole
  // character, what a normalizer put in has the place of its neighbour, and post-processors trim.
  void EncodeOffsets(std::string_view text, bool add_special_tokens, std::vector<TokenSpan>* spans);
  // Adds each token to `tally` (of tokenizer.size() ids), special tokens not added. Returns how many tokens that were.
  uint64_t Count(std::string_view text, Tally* tally);

 private:
  class Cache;

  template <typename OnToken, typename OnPiece>
  void Walk(std::string_view text, Places places, OnToken&& on_token, OnPiece&& on_piece);
  // Calls on_ids(ids, count) for runs of tokens, in order; PieceCache::kCopied may be read at `ids`.
  template <typename OnIds>
  void WalkIds(std::string_view text, OnIds&& on_ids);
  // The same for a text that nothing but a splitter cuts; false, and nothing done, if that is not one of the fast ones
  // or the text is not UTF-8.
  template <typename OnIds>
  bool Fast(std::string_view text, OnIds&& on_ids);
  template <SplitterKind kind, typename OnIds>
  void KnownPieces(std::string_view text, OnIds&& on_ids);
  // Calls on_word(word) for the parts of a piece that are merged on their own.
  template <typename OnWord>
  void Words(std::string_view piece, OnWord&& on_word);
  template <typename OnSymbol>
  void LocateSpelled(std::string_view word, OnSymbol&& on_symbol);
  template <typename OnSpan>
  void Locate(std::string_view text, Places places, OnSpan&& on_span);
  // The tokens of a word; valid until the next call. PieceCache::kCopied may be read at `data`, however many there
  // are.
  struct Ids {
    const TokenId* data;
    size_t size;
  };
  Ids Word(std::string_view word);
  bool WholePiece(std::string_view piece, TokenId* id);

  const Tokenizer* const tokenizer_;
  std::unique_ptr<Cache> cache_;
  Bpe::Scratch scratch_;
  std::vector<TokenId> ids_;
  std::string alphabet_;
  NormalText normal_, other_;
  std::vector<AddedTokenMatcher::Part> raw_parts_, normal_parts_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_TOKENIZER_H_
