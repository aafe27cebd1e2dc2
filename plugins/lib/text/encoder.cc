// How a text is walked: added tokens that are looked for in the text as it is; between them the normalizer, then added
// tokens that are looked for in normalised text; between those the pre-tokenizer's pieces.
//
// A vocabulary of characters (SentencePiece's kind) has no splitter: a whole text is one piece. But where no merge has
// U+2581 inside, nothing ever merges across the place before one, so that words can be merged on their own, and found
// in the cache like those of the other kind.
#include <simdjson.h>

#include <algorithm>
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

Encoder::Encoder(const Tokenizer* tokenizer) : tokenizer_(tokenizer), cache_(std::make_unique<Cache>()) {}
Encoder::~Encoder() = default;

void Encoder::ClearCache() { cache_->Clear(); }

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
  ids_.clear();
  TokenId whole;
  if (tokenizer_->spec_.ignore_merges && WholePiece(word, &whole)) {
    ids_.push_back(whole);
  } else {
    tokenizer_->bpe_.Apply(word, &scratch_);
    for (const Bpe::Symbol& symbol : scratch_.symbols) ids_.push_back(symbol.id);
  }
  cache_->Insert(word, ids_.data(), ids_.size());
  const size_t size = ids_.size();
  ids_.resize(std::max(size, PieceCache::kInline));
  return {ids_.data(), size};
}

// The pieces of a text of one splitter, the way that most texts take.
template <SplitterKind kind, typename OnIds>
void Encoder::KnownPieces(std::string_view text, OnIds&& on_ids) {
  const ByteClasses& classes = ByteClasses::Get();
  const PieceCache& cache = *cache_;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const char* const next = FastPieceEnd<kind>(classes, p, end);
    const auto size = static_cast<size_t>(next - p);
    size_t count;
    if (size <= PieceCache::kShortKey && end - p >= 16) {
      if (const TokenId* ids = cache.FindShort(PieceCache::KeyAt(p, size), &count)) {
        on_ids(ids, count);
        p = next;
        continue;
      }
    }
    const Ids found = Word({p, size});
    on_ids(found.data, found.size);
    p = next;
  }
}

template <typename OnIds>
bool Encoder::Fast(std::string_view text, OnIds&& on_ids) {
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
// on_part(text) may take a whole part between added tokens instead, and then returns true.
template <typename OnToken, typename OnPiece, typename OnPart>
void Encoder::Walk(std::string_view text, Places places, OnToken&& on_token, OnPiece&& on_piece, OnPart&& on_part) {
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
      if (!on_part(segment.text)) spec.pre_tokenizer.Split(segment, places, on_piece);
      continue;
    }
    tokenizer_->normalized_.Match(segment.text, &normal_parts_);
    for (const auto& part : normal_parts_) {
      const Piece piece = segment.Part(part.begin, part.end);
      if (!part.token) {
        if (!on_part(piece.text)) spec.pre_tokenizer.Split(piece, places, on_piece);
      } else if (piece.places) {
        on_token(part.token->id, piece.places[0].begin, piece.places[piece.text.size() - 1].end, piece.text);
      } else {
        on_token(part.token->id, piece.source, piece.source + piece.text.size(), piece.text);
      }
    }
  }
}

template <typename OnIds>
void Encoder::WalkIds(std::string_view text, OnIds&& on_ids) {
  const bool fast =
      tokenizer_->only_splitter_ != SplitterKind::kNone && simdjson::validate_utf8(text.data(), text.size());
  Walk(
      text, tokenizer_->needs_places_ ? Places::kReference : Places::kNone,
      [&](TokenId id, size_t, size_t, std::string_view) {
        const TokenId ids[PieceCache::kInline] = {id};
        on_ids(ids, 1);
      },
      [&](const Piece& piece) {
        Words(piece.text, [&](std::string_view word) {
          const Ids found = Word(word);
          on_ids(found.data, found.size);
        });
      },
      [&](std::string_view part) { return fast && Fast(part, on_ids); });
}

void Encoder::Encode(std::string_view text, bool add_special_tokens, std::vector<TokenId>* ids) {
  if (add_special_tokens) ids->insert(ids->end(), tokenizer_->prefix_.begin(), tokenizer_->prefix_.end());
  // Written through a pointer, into room that is made now and then.
  constexpr size_t kRoom = 4096;
  size_t size = ids->size();
  TokenId* out = nullptr;
  TokenId* last = nullptr;  // Room for kInline more is behind it.
  auto make_room = [&](size_t wanted) {
    if (out) size = out - ids->data();
    ids->resize(size + wanted + kRoom);
    out = ids->data() + size;
    last = ids->data() + ids->size() - PieceCache::kInline;
  };
  make_room(text.size() / 8);
  WalkIds(text, [&](const TokenId* found, size_t count) {
    if (out + count > last) make_room(count);
    if (count <= PieceCache::kInline) {
      std::memcpy(out, found, PieceCache::kInline * sizeof(TokenId));
    } else {
      std::memcpy(out, found, count * sizeof(TokenId));
    }
    out += count;
  });
  ids->resize(out - ids->data());
  if (add_special_tokens) ids->insert(ids->end(), tokenizer_->suffix_.begin(), tokenizer_->suffix_.end());
}

uint64_t Encoder::Count(std::string_view text, uint64_t* counts) {
  uint64_t total = 0;
  WalkIds(text, [&](const TokenId* found, size_t count) {
    for (size_t i = 0; i < count; ++i) ++counts[found[i]];
    total += count;
  });
  return total;
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
          at += scratch_.skipped;
          for (const Bpe::Symbol& symbol : scratch_.symbols) {
            const size_t begin = begin_of(piece, at);
            at += symbol.bytes;
            on_span(TokenSpan{symbol.id, begin, std::max(begin, end_of(piece, at))}, tokenizer_->TokenText(symbol.id));
          }
          // The reference does not count what it drops.
          if (places == Places::kExact) at = word_end;
        });
      },
      [](std::string_view) { return false; });
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
