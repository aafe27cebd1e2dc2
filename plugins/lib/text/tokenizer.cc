#include "plugins/lib/text/tokenizer.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "plugins/lib/text/byte_alphabet.h"
#include "plugins/lib/text/piece_cache.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

// True if `form` could lie across a cut between a character that is no white space and a space.
bool HoldsACut(std::string_view form) {
  for (size_t i = 1; i < form.size(); ++i) {
    if (form[i] != ' ') continue;
    size_t start = i - 1;
    while (start > 0 && (form[start] & 0xc0) == 0x80) --start;
    int length;
    if (!(CodePointFlags()[DecodeUtf8(form.data() + start, form.data() + i, &length)] & kSpace)) return true;
  }
  return false;
}

// Bytes that no UTF-8 text contains.
bool InUtf8(int byte) { return byte != 0xc0 && byte != 0xc1 && byte < 0xf5; }

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(std::string_view json) {
  ASSIGN_OR_RETURN(TokenizerSpec spec, ParseTokenizerJson(json));
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer(std::move(spec)));
  RETURN_IF_ERROR(tokenizer->Build());
  return tokenizer;
}

Tokenizer::Tokenizer(TokenizerSpec spec) : spec_(std::move(spec)) {}
Tokenizer::~Tokenizer() = default;

absl::Status Tokenizer::Build() {
  size_t size = 0;
  for (const auto& entry : spec_.vocab) size = std::max<size_t>(size, entry.id + 1);
  for (const AddedToken& token : spec_.added_tokens) size = std::max<size_t>(size, token.id + 1);
  kinds_.assign(size, kHole);
  texts_.resize(size);
  for (const auto& entry : spec_.vocab) {
    kinds_[entry.id] = kModel;
    texts_[entry.id] = spec_.Text(entry);
  }

  // The reference numbers added tokens itself: a token of the model has its id, the others follow the model's count.
  std::vector<std::string> forms(spec_.added_tokens.size());
  std::unordered_set<std::string_view> special;
  auto next = static_cast<TokenId>(spec_.vocab.size());
  for (size_t i = 0; i < forms.size(); ++i) {
    const AddedToken& token = spec_.added_tokens[i];
    const std::string path = StrCat("tokenizer.json: added_tokens[", i, "]");
    const std::optional<TokenId> model_id = spec_.vocab_ids.Get(token.content);
    const TokenId expected = model_id ? *model_id : next++;
    if (token.id != expected) {
      return absl::UnimplementedError(StrCat(path, ".id: ", token.id, " is not supported: \"", token.content,
                                             "\" is given the id ", expected, " when it is loaded"));
    }
    if (!model_id && kinds_[token.id] != kHole) {
      return absl::InvalidArgumentError(StrCat(path, ".id: \"", texts_[token.id], "\" has the id ", token.id, " too"));
    }
    if (!added_ids_.emplace(token.content, token.id).second) {
      return absl::InvalidArgumentError(StrCat(path, ".content: \"", token.content, "\" is listed twice"));
    }
    kinds_[token.id] |= kAdded | (token.special ? kSpecial : 0);
    texts_[token.id] = token.content;
    if (token.special) special.insert(token.content);
    forms[i] = token.content;
    if (token.normalized && spec_.nfc) Nfc(token.content, &forms[i]);
    if (!(token.normalized ? normalized_ : raw_).Add(forms[i], &token)) {
      return absl::InvalidArgumentError(StrCat(path, ".content: \"", token.content, "\" is, normalised, listed twice"));
    }
  }
  std::vector<const std::string*> form_of(size, nullptr);
  cuts_at_spaces_ = true;
  for (size_t i = 0; i < forms.size(); ++i) {
    const AddedToken& token = spec_.added_tokens[i];
    form_of[token.id] = &forms[i];
    if (special.contains(forms[i])) kinds_[token.id] |= kSkip;
    if (token.rstrip || HoldsACut(forms[i]) || HoldsACut(token.content) || (token.single_word && forms[i][0] == ' ')) {
      cuts_at_spaces_ = false;
    }
  }

  bytes_end_.resize(size);
  for (size_t id = 0; id < size; ++id) {
    const std::string_view text = form_of[id] ? std::string_view(*form_of[id]) : texts_[id];
    if (!AppendFromAlphabet(text, &bytes_)) bytes_.append(text);
    bytes_end_[id] = static_cast<uint32_t>(bytes_.size());
  }

  for (const auto* ids : {&spec_.prefix, &spec_.suffix}) {
    for (TokenId id : *ids) {
      if (!HasToken(id))
        return absl::InvalidArgumentError(StrCat("tokenizer.json: post_processor: there is no token ", id));
    }
  }

  bool complete = true;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    byte_tokens_[byte] = spec_.vocab_ids.Get(ToAlphabet(std::string_view(&c, 1))).value_or(kNoToken);
    complete = complete && (byte_tokens_[byte] != kNoToken || !InUtf8(byte));
  }
  if (spec_.unknown == kNoToken) {
    if (!complete) {
      return absl::InvalidArgumentError(
          "tokenizer.json: model.unk_token: it is not in the vocabulary, and neither are all bytes");
    }
    spec_.unknown.reset();
  }
  bpe_.SetBytes(byte_tokens_, spec_.unknown.value_or(kNoToken), spec_.fuse_unknown);
  bpe_.SetMerges(spec_.merges);
  return absl::OkStatus();
}

std::string_view Tokenizer::TokenText(TokenId id) const { return id < size() ? texts_[id] : std::string_view(); }

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  if (id >= size()) return {};
  const uint32_t begin = id == 0 ? 0 : bytes_end_[id - 1];
  return std::string_view(bytes_).substr(begin, bytes_end_[id] - begin);
}

std::optional<TokenId> Tokenizer::IdOf(std::string_view text) const {
  const auto added = added_ids_.find(text);
  return added != added_ids_.end() ? added->second : spec_.vocab_ids.Get(text);
}

std::optional<TokenId> Tokenizer::ByteTokenId(uint8_t byte) const {
  const TokenId id = byte_tokens_[byte];
  return id == kNoToken ? std::nullopt : std::optional<TokenId>(id);
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  std::unique_ptr<Encoder> encoder;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      encoder = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (!encoder) encoder = std::make_unique<Encoder>(this);
  std::vector<TokenId> ids;
  encoder->Encode(text, add_special_tokens, &ids);
  std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(encoder));
  return ids;
}

std::string Tokenizer::DecodeBytes(const std::vector<TokenId>& ids, bool skip_special_tokens) const {
  std::string bytes;
  for (TokenId id : ids) {
    if (id >= size() || (skip_special_tokens && (kinds_[id] & kSkip))) continue;
    bytes.append(TokenBytes(id));
  }
  return bytes;
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const {
  return Utf8Lossy(DecodeBytes(ids, skip_special_tokens));
}

class Encoder::Cache : public PieceCache {};

Encoder::Encoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer), cache_(std::make_unique<Cache>()) {}
Encoder::~Encoder() = default;

void Encoder::ClearCache() { cache_->Clear(); }

bool Encoder::WholePiece(std::string_view piece, TokenId* id) {
  alphabet_.clear();
  AppendAlphabet(piece, &alphabet_);
  const std::optional<TokenId> found = tokenizer_->spec_.vocab_ids.Get(alphabet_);
  if (found) *id = *found;
  return found.has_value();
}

Encoder::Ids Encoder::Piece(std::string_view piece) {
  const PieceCache::Ids cached = cache_->Find(piece);
  if (cached.data) return {cached.data, cached.size};
  ids_.clear();
  TokenId whole;
  if (tokenizer_->spec_.ignore_merges && WholePiece(piece, &whole)) {
    ids_.push_back(whole);
  } else {
    tokenizer_->bpe_.Apply(piece, &scratch_);
    for (const Bpe::Symbol& symbol : scratch_.symbols) ids_.push_back(symbol.id);
  }
  cache_->Insert(piece, ids_.data(), ids_.size());
  return {ids_.data(), ids_.size()};
}

// Calls on_token(id, begin, end) for added tokens and on_piece(piece, offset, added, source) for pre-tokens, in order.
// `offset` and `added` are the Pipeline's, in a text that may be normalised; source(offset, as_end) is the place in
// `text`.
template <typename OnToken, typename OnPiece>
void Encoder::Walk(std::string_view text, OnToken&& on_token, OnPiece&& on_piece) {
  tokenizer_->raw_.Match(text, &raw_parts_);
  for (const auto& raw : raw_parts_) {
    if (raw.token) {
      on_token(raw.token->id, raw.begin, raw.end);
      continue;
    }
    std::string_view segment = text.substr(raw.begin, raw.end - raw.begin);
    nfc_spans_.clear();
    if (tokenizer_->spec_.nfc && !LooksNfc(segment)) {
      Nfc(segment, &normal_, &nfc_spans_);
      segment = normal_;
    }
    // Where in `text` byte `i` of `segment` comes from; inside a part that NFC replaced, the end or begin of it.
    auto source = [this, &raw](size_t i, bool as_end) {
      size_t source_end = 0, normal_end = 0;
      for (size_t low = 0, high = nfc_spans_.size(); low < high;) {
        const size_t middle = (low + high) / 2;
        const NfcSpan& span = nfc_spans_[middle];
        if (as_end ? i > span.normal_begin && i <= span.normal_end : i >= span.normal_begin && i < span.normal_end) {
          return raw.begin + (as_end ? span.source_end : span.source_begin);
        }
        if (span.normal_end <= i) {
          source_end = span.source_end;
          normal_end = span.normal_end;
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      return raw.begin + source_end + (i - normal_end);
    };
    auto split = [&](std::string_view part, size_t begin) {
      tokenizer_->spec_.pipeline.Split(part, [&](std::string_view piece, size_t offset, size_t added) {
        on_piece(piece, begin + offset, added, source);
      });
    };
    if (tokenizer_->normalized_.empty()) {
      split(segment, 0);
      continue;
    }
    tokenizer_->normalized_.Match(segment, &normal_parts_);
    for (const auto& part : normal_parts_) {
      if (part.token) {
        on_token(part.token->id, source(part.begin, false), source(part.end, true));
      } else {
        split(segment.substr(part.begin, part.end - part.begin), part.begin);
      }
    }
  }
}

void Encoder::Encode(std::string_view text, bool add_special_tokens, std::vector<TokenId>* ids) {
  const TokenizerSpec& spec = tokenizer_->spec_;
  if (add_special_tokens) ids->insert(ids->end(), spec.prefix.begin(), spec.prefix.end());
  Walk(
      text, [&](TokenId id, size_t, size_t) { ids->push_back(id); },
      [&](std::string_view piece, size_t, size_t, const auto&) {
        const Ids found = Piece(piece);
        ids->insert(ids->end(), found.data, found.data + found.size);
      });
  if (add_special_tokens) ids->insert(ids->end(), spec.suffix.begin(), spec.suffix.end());
}

void Encoder::EncodeSpans(std::string_view text, bool add_special_tokens, std::vector<TokenSpan>* spans) {
  const TokenizerSpec& spec = tokenizer_->spec_;
  if (add_special_tokens) {
    for (TokenId id : spec.prefix) spans->push_back({id, 0, 0});
  }
  Walk(
      text,
      [&](TokenId id, size_t begin, size_t end) {
        spans->push_back({id, begin, end});
      },
      [&](std::string_view piece, size_t offset, size_t added, const auto& source) {
        TokenId whole;
        if (spec.ignore_merges && WholePiece(piece, &whole)) {
          scratch_.symbols.assign(1, {whole, static_cast<uint32_t>(piece.size())});
        } else {
          tokenizer_->bpe_.Apply(piece, &scratch_);
        }
        // An added space has no length in the text.
        auto place = [&](size_t i) { return offset + (i > added ? i - added : 0); };
        size_t at = 0;
        for (const Bpe::Symbol& symbol : scratch_.symbols) {
          const size_t begin = source(place(at), false);
          at += symbol.bytes;
          spans->push_back({symbol.id, begin, std::max(begin, source(place(at), true))});
        }
      });
  if (add_special_tokens) {
    for (TokenId id : spec.suffix) spans->push_back({id, text.size(), text.size()});
  }
  // A token that was found in white space that rstrip had taken already lies behind the one before it.
  size_t end = 0;
  for (TokenSpan& span : *spans) {
    end = span.end = std::max(span.end, end);
    span.begin = std::min(span.begin, span.end);
  }
}

uint64_t Encoder::Count(std::string_view text, uint64_t* counts) {
  uint64_t total = 0;
  Walk(
      text,
      [&](TokenId id, size_t, size_t) {
        ++counts[id];
        ++total;
      },
      [&](std::string_view piece, size_t, size_t, const auto&) {
        const Ids found = Piece(piece);
        for (size_t i = 0; i < found.size; ++i) ++counts[found.data[i]];
        total += found.size;
      });
  return total;
}

}  // namespace editd::text
