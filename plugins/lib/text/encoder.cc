// How a text is walked: added tokens that are looked for in the text as it is; between them the normalizer, then added
// tokens that are looked for in normalised text; between those the pre-tokenizer's pieces.
//
// A vocabulary of characters (SentencePiece's kind) has no splitter: a whole text is one piece. But where no merge has
// U+2581 inside, nothing ever merges across the place before one, so that words can be merged on their own, and found
// in the cache like those of the other kind.
#include <simdjson.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "plugins/lib/text/byte_alphabet.h"
#include "plugins/lib/text/fast_splitter.h"
#include "plugins/lib/text/piece_cache.h"
#include "plugins/lib/text/tokenizer.h"
#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

constexpr std::string_view kMetaspace = "\xe2\x96\x81";

// How many characters of white space a token has at its ends, as ByteLevel counts them.
struct Spaces {
  size_t leading = 0, trailing = 0;
};
Spaces SpacesOf(std::string_view token) {
  const uint8_t* flags = CodePointFlags();
  Spaces spaces;
  bool leads = true;
  for (const char *p = token.data(), *end = p + token.size(); p < end;) {
    int length;
    const uint32_t c = DecodeUtf8(p, end, &length);
    const bool space = c == ByteToAlphabet(' ') || (flags[c] & kSpace);
    leads = leads && space;
    spaces.leading += leads ? 1 : 0;
    spaces.trailing = space ? spaces.trailing + 1 : 0;
    p += length;
  }
  return spaces;
}

// Takes the white space at a token's ends from its place.
void Trim(std::string_view text, Spaces spaces, bool first, bool prefix_space, TokenSpan* span) {
  if ((first || span->begin == 0) && prefix_space && spaces.leading == 1) spaces.leading = 0;
  for (; spaces.leading > 0 && span->begin < span->end; --spaces.leading) {
    int length;
    DecodeUtf8(text.data() + span->begin, text.data() + text.size(), &length);
    span->begin = std::min(span->begin + length, span->end);
  }
  for (; spaces.trailing > 0 && span->end > span->begin; --spaces.trailing) {
    do --span->end;
    while (span->end > span->begin && (text[span->end] & 0xc0) == 0x80);
  }
}

}  // namespace

class Encoder::Cache : public PieceCache {};

Encoder::Encoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer), cache_(std::make_unique<Cache>()) {
  tokenizer_->shared_.Open();
}
Encoder::~Encoder() = default;

bool Encoder::WholePiece(std::string_view piece, TokenId* id) {
  std::string_view spelled = piece;
  if (tokenizer_->spec_.byte_level) {
    alphabet_.clear();
    AppendAlphabet(piece, &alphabet_);
    spelled = alphabet_;
  }
  const std::optional<TokenId> found = tokenizer_->spec_.vocab_ids.Get(spelled);
  if (found) *id = *found;
  return found.has_value();
}

template <typename OnWord>
void Encoder::Words(std::string_view piece, OnWord&& on_word) {
  if (!tokenizer_->cuts_at_metaspaces_ || tokenizer_->spec_.ignore_merges) {
    on_word(piece);
    return;
  }
  size_t begin = 0;
  for (size_t at = piece.find(kMetaspace, 1); at != std::string_view::npos; at = piece.find(kMetaspace, at + 3)) {
    if (piece.substr(0, at).ends_with(kMetaspace)) continue;
    on_word(piece.substr(begin, at - begin));
    begin = at;
  }
  on_word(piece.substr(begin));
}

Encoder::Ids Encoder::Word(std::string_view word) {
  const PieceCache::Ids cached = cache_->Find(word);
  if (cached.data) return {cached.data, cached.size};
  const bool is_short = word.size() <= PieceKey::kMost;
  const PieceKey key = is_short ? PieceKey::Of(word) : PieceKey();
  ids_.resize(SharedPieces::kMostIds);
  ids_.resize(is_short ? tokenizer_->shared_.Find(key, ids_.data()) : 0);
  if (ids_.empty()) {
    TokenId whole;
    if (tokenizer_->spec_.ignore_merges && WholePiece(word, &whole)) {
      ids_.push_back(whole);
    } else {
      tokenizer_->bpe_.Apply(word, &scratch_);
      for (const Bpe::Symbol& symbol : scratch_.symbols) ids_.push_back(symbol.id);
    }
    if (is_short) tokenizer_->shared_.Insert(key, ids_.data(), ids_.size());
  }
  cache_->Insert(word, ids_.data(), ids_.size());
  const size_t size = ids_.size();
  ids_.resize(std::max(size, PieceCache::kCopied));
  return {ids_.data(), size};
}

// The pieces of a text of one splitter, the way that most texts take. Many pieces are found, and the cache told to come
// up with their slots, before the first of them is looked up, so that the waits for memory overlap.
template <SplitterKind kind, typename OnIds>
void Encoder::KnownPieces(std::string_view text, OnIds&& on_ids) {
  struct Found {
    PieceKey key;  // None if the piece is long.
    uint64_t hash;
    const char* begin;
    const char* end;
  };
  constexpr size_t kMany = 128;
  Found found[kMany + kWindow];
  size_t count = 0;
  const ByteClasses& classes = ByteClasses::Get();
  const PieceCache& cache = *cache_;
  const auto add = [&](const char* begin, const char* end) {
    const auto size = static_cast<size_t>(end - begin);
    Found& piece = found[count++];
    piece.begin = begin;
    piece.end = end;
    if (size > PieceKey::kMost) {
      piece.key = PieceKey();
      return;
    }
    piece.key = PieceKey::At(begin, size);
    piece.hash = cache.HashOf(piece.key);
    cache.Prefetch(piece.hash);
  };
  const auto look_up = [&] {
    for (size_t i = 0; i < count; ++i) {
      const Found& piece = found[i];
      size_t size;
      if (piece.key.high != 0) {
        if (const TokenId* ids = cache.FindShort(piece.key, piece.hash, &size)) {
          on_ids(ids, size);
          continue;
        }
      }
      const Ids ids = Word({piece.begin, static_cast<size_t>(piece.end - piece.begin)});
      on_ids(ids.data, ids.size);
    }
    count = 0;
  };
  char last[2 * kReadable];  // The text's end, so that more than it can be read.
  const char* p = text.data();
  const char* end = p + text.size();
  while (p < end) {
    if (static_cast<size_t>(end - p) < kReadable && (p < last || p >= last + sizeof last)) {
      const auto left = static_cast<size_t>(end - p);
      std::memcpy(last, p, left);
      std::memset(last + left, 0, sizeof last - left);
      p = last;
      end = last + left;
    }
    uint64_t ends = PieceEnds<kind>(classes, p, end - p);
    if (ends == 0) {
      const char* const next = PieceEnd(kind, p, end);
      add(p, next);
      p = next;
    } else {
      const char* const window = p;
      do {
        const char* const next = window + std::countr_zero(ends);
        ends &= ends - 1;
        add(p, next);
        p = next;
      } while (ends != 0);
    }
    if (count >= kMany) look_up();
  }
  look_up();
}

template <typename OnIds>
bool Encoder::Fast(std::string_view text, OnIds&& on_ids) {
  if (!simdjson::validate_utf8(text.data(), text.size())) return false;
  switch (tokenizer_->only_splitter_) {
    case SplitterKind::kGpt2:
      KnownPieces<SplitterKind::kGpt2>(text, on_ids);
      return true;
    case SplitterKind::kLlama3:
      KnownPieces<SplitterKind::kLlama3>(text, on_ids);
      return true;
    case SplitterKind::kQwen2:
      KnownPieces<SplitterKind::kQwen2>(text, on_ids);
      return true;
    default:
      return false;
  }
}

// Calls on_token(id, begin, end, matched) for added tokens and on_piece(const Piece&) for pre-tokens, in order.
template <typename OnToken, typename OnPiece>
void Encoder::Walk(std::string_view text, Places places, OnToken&& on_token, OnPiece&& on_piece) {
  const TokenizerSpec& spec = tokenizer_->spec_;
  tokenizer_->raw_.Match(text, &raw_parts_);
  for (const auto& raw : raw_parts_) {
    if (raw.token) {
      on_token(raw.token->id, raw.begin, raw.end, text.substr(raw.begin, raw.end - raw.begin));
      continue;
    }
    Piece segment = {text.substr(raw.begin, raw.end - raw.begin), nullptr, raw.begin, raw.begin == 0};
    if (!spec.normalizer.Leaves(segment.text)) {
      normal_.Assign(segment.text, raw.begin, places);
      spec.normalizer.Apply(places, &normal_, &other_);
      segment.text = normal_.text;
      if (segment.text.empty()) continue;
      if (places != Places::kNone) segment.places = normal_.places.data();
    }
    if (tokenizer_->normalized_.empty()) {
      spec.pre_tokenizer.Split(segment, places, on_piece);
      continue;
    }
    tokenizer_->normalized_.Match(segment.text, &normal_parts_);
    for (const auto& part : normal_parts_) {
      const Piece piece = segment.Part(part.begin, part.end);
      if (!part.token) {
        spec.pre_tokenizer.Split(piece, places, on_piece);
      } else if (piece.places) {
        on_token(part.token->id, piece.places[0].begin, piece.places[piece.text.size() - 1].end, piece.text);
      } else {
        on_token(part.token->id, piece.source, piece.source + piece.text.size(), piece.text);
      }
    }
  }
}

// Texts that nothing but forms of Unicode and a splitter change are taken in parts that stay in the first caches
// between one look and the next. (count.cc says why such a cut changes nothing.)
template <typename OnIds>
void Encoder::WalkIds(std::string_view text, OnIds&& on_ids) {
  const auto on_token = [&](TokenId id, size_t, size_t, std::string_view) {
    const TokenId ids[PieceCache::kCopied] = {id};
    on_ids(ids, 1);
  };
  const auto on_piece = [&](const Piece& piece) {
    Words(piece.text, [&](std::string_view word) {
      const Ids found = Word(word);
      on_ids(found.data, found.size);
    });
  };
  if (!tokenizer_->simple_) {
    Walk(text, tokenizer_->needs_places_ ? Places::kReference : Places::kNone, on_token, on_piece);
    return;
  }
  const TokenizerSpec& spec = tokenizer_->spec_;
  tokenizer_->raw_.Match(text, &raw_parts_);
  for (const auto& raw : raw_parts_) {
    if (raw.token) {
      on_token(raw.token->id, raw.begin, raw.end, {});
      continue;
    }
    constexpr size_t kPart = 32 << 10;
    for (size_t begin = raw.begin; begin < raw.end;) {
      const std::string_view rest = text.substr(begin, raw.end - begin);
      std::string_view part = rest.substr(0, rest.size() > kPart ? SpaceAfterWord(rest, kPart) : rest.size());
      begin += part.size();
      if (!spec.normalizer.Leaves(part)) {
        normal_.Assign(part, 0, Places::kNone);
        spec.normalizer.Apply(Places::kNone, &normal_, &other_);
        part = normal_.text;
      }
      if (!Fast(part, on_ids)) spec.pre_tokenizer.Split({part}, Places::kNone, on_piece);
    }
  }
}

void Encoder::Encode(std::string_view text, bool add_special_tokens, std::vector<TokenId>* ids) {
  if (ids->empty()) ids->reserve(text.size() / 4);  // Else each of many short texts would move all before them.
  if (add_special_tokens) ids->insert(ids->end(), tokenizer_->prefix_.begin(), tokenizer_->prefix_.end());
  // Written here without a look at the room that is left but once a run, and moved on when it is full: the vector would
  // make each of its elements zero first.
  constexpr size_t kRoom = 4096;
  TokenId some[kRoom + PieceCache::kCopied];
  size_t size = 0;
  const auto move_on = [&] {
    ids->insert(ids->end(), some, some + size);
    size = 0;
  };
  WalkIds(text, [&](const TokenId* found, size_t count) {
    if (size + count > kRoom) {
      move_on();
      if (count > kRoom) {
        ids->insert(ids->end(), found, found + count);
        return;
      }
    }
    if (count <= PieceCache::kCopied) {
      std::memcpy(some + size, found, PieceCache::kCopied * sizeof(TokenId));
    } else {
      std::memcpy(some + size, found, count * sizeof(TokenId));
    }
    size += count;
  });
  move_on();
  if (add_special_tokens) ids->insert(ids->end(), tokenizer_->suffix_.begin(), tokenizer_->suffix_.end());
}

uint64_t Encoder::Count(std::string_view text, Tally* tally) {
  uint64_t total = 0;
  WalkIds(text, [&](const TokenId* found, size_t count) {
    tally->Add(found, count);
    total += count;
  });
  return total;
}

// Calls on_symbol(id, first, last), its first and last byte of `word`, for scratch_'s symbols as the reference places
// them where bytes without a token are dropped: it counts in the word as it is spelled in GPT-2's alphabet, of one byte
// or two a letter, and does not count what it drops, so that what follows comes to lie before its own letters.
template <typename OnSymbol>
void Encoder::LocateSpelled(std::string_view word, OnSymbol&& on_symbol) {
  std::vector<uint32_t> spelled;  // The byte of `word` that each byte of its spelling stands for.
  std::vector<uint32_t> lengths;  // Of the letters that are not dropped.
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    const uint32_t length = ByteToAlphabet(byte) < 0x80 ? 1 : 2;
    spelled.insert(spelled.end(), length, static_cast<uint32_t>(i));
    if (tokenizer_->byte_tokens_[byte] != kNoToken) lengths.push_back(length);
  }
  if (scratch_.symbols.size() == 1 && scratch_.symbols[0].bytes == word.size()) {
    on_symbol(scratch_.symbols[0].id, 0, word.size() - 1);
    return;
  }
  size_t at = 0, letter = 0;
  for (const Bpe::Symbol& symbol : scratch_.symbols) {
    const size_t begin = at;
    for (uint32_t left = symbol.bytes; left > 0; --left) at += lengths[letter++];
    on_symbol(symbol.id, spelled[begin], spelled[at - 1]);
  }
}

template <typename OnSpan>
void Encoder::Locate(std::string_view text, Places places, OnSpan&& on_span) {
  auto begin_of = [&](const Piece& piece, size_t i) {
    if (piece.places) return piece.places[i].begin;
    size_t at = piece.source + i;
    if (places == Places::kReference) {  // The beginning of its character.
      while (at > piece.source && (text[at] & 0xc0) == 0x80) --at;
    }
    return at;
  };
  auto end_of = [&](const Piece& piece, size_t i) {  // Of byte i - 1.
    if (i == 0) return begin_of(piece, 0);
    if (piece.places) return piece.places[i - 1].end;
    size_t at = piece.source + i;
    if (places == Places::kReference) {
      while (at < piece.source + piece.text.size() && (text[at] & 0xc0) == 0x80) ++at;
    }
    return at;
  };
  Walk(
      text, places,
      [&](TokenId id, size_t begin, size_t end, std::string_view matched) {
        on_span(TokenSpan{id, begin, end}, matched);
      },
      [&](const Piece& piece) {
        size_t at = 0;
        Words(piece.text, [&](std::string_view word) {
          const size_t word_end = at + word.size();
          TokenId whole;
          if (tokenizer_->spec_.ignore_merges && WholePiece(word, &whole)) {
            scratch_.skipped = 0;
            scratch_.symbols.assign(1, {whole, static_cast<uint32_t>(word.size())});
          } else {
            tokenizer_->bpe_.Apply(word, &scratch_, places == Places::kExact);
          }
          if (places == Places::kReference && tokenizer_->drops_bytes_) {
            LocateSpelled(word, [&](TokenId id, size_t first, size_t last) {
              on_span(TokenSpan{id, begin_of(piece, first), end_of(piece, last + 1)}, tokenizer_->TokenText(id));
            });
            return;
          }
          at += scratch_.skipped;
          for (const Bpe::Symbol& symbol : scratch_.symbols) {
            const size_t begin = begin_of(piece, at);
            at += symbol.bytes;
            on_span(TokenSpan{symbol.id, begin, std::max(begin, end_of(piece, at))}, tokenizer_->TokenText(symbol.id));
          }
          // The reference does not count what it drops.
          if (places == Places::kExact) at = word_end;
        });
      });
}

void Encoder::EncodeSpans(std::string_view text, bool add_special_tokens, std::vector<TokenSpan>* spans) {
  const size_t first = spans->size();
  if (add_special_tokens) {
    for (TokenId id : tokenizer_->prefix_) spans->push_back({id, 0, 0});
  }
  const size_t body = spans->size();
  const auto append = [spans](const TokenSpan& span, std::string_view) { spans->push_back(span); };
  Locate(text, Places::kExact, append);
  if (tokenizer_->needs_places_) {
    // Where a word that begins the text is treated apart, "begins" means the reference's places. They rarely disagree
    // with the exact ones (a normalizer that reorders marks at the beginning); the ids must be the reference's.
    std::vector<TokenId> ids;
    Encode(text, false, &ids);
    const auto same = [](const TokenSpan& span, TokenId id) { return span.id == id; };
    if (!std::equal(spans->begin() + static_cast<std::ptrdiff_t>(body), spans->end(), ids.begin(), ids.end(), same)) {
      spans->resize(body);
      Locate(text, Places::kReference, append);
    }
  }
  if (add_special_tokens) {
    for (TokenId id : tokenizer_->suffix_) spans->push_back({id, text.size(), text.size()});
  }
  // A token that was found in white space that rstrip had taken already lies behind the one before it.
  size_t end = 0;
  for (size_t i = first; i < spans->size(); ++i) {
    TokenSpan& span = (*spans)[i];
    end = span.end = std::max(span.end, end);
    span.begin = std::min(span.begin, span.end);
  }
}

void Encoder::EncodeOffsets(std::string_view text, bool add_special_tokens, std::vector<TokenSpan>* spans) {
  const auto& steps = tokenizer_->spec_.post_processor;
  const bool trims = std::any_of(steps.begin(), steps.end(),
                                 [](const PostProcessorStep& step) { return step.kind == PostProcessorStep::kTrim; });
  struct Found {
    TokenSpan span;
    Spaces spaces;
  };
  std::vector<Found> found;
  Locate(text, Places::kReference, [&](const TokenSpan& span, std::string_view token) {
    found.push_back({span, trims ? SpacesOf(token) : Spaces{}});
  });
  for (const PostProcessorStep& step : steps) {
    if (step.kind == PostProcessorStep::kTrim) {
      for (size_t i = 0; i < found.size(); ++i) Trim(text, found[i].spaces, i == 0, step.prefix_space, &found[i].span);
    } else if (add_special_tokens) {
      std::vector<Found> with;
      for (TokenId id : step.prefix) with.push_back({{id, 0, 0}, {}});
      with.insert(with.end(), found.begin(), found.end());
      for (TokenId id : step.suffix) with.push_back({{id, 0, 0}, {}});
      found.swap(with);
    }
  }
  for (const Found& one : found) spans->push_back(one.span);
}

}  // namespace editd::text
