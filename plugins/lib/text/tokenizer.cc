#include "plugins/lib/text/tokenizer.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "plugins/lib/text/byte_alphabet.h"
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

// False for bytes that no UTF-8 text contains.
bool InUtf8(int byte) { return byte != 0xc0 && byte != 0xc1 && byte < 0xf5; }

constexpr std::string_view kMetaspace = "\xe2\x96\x81";

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
  bytes_end_.resize(size);
  RETURN_IF_ERROR(BuildAddedTokens());
  BuildTokenBytes();
  for (const PostProcessorStep& step : spec_.post_processor) {
    prefix_.insert(prefix_.begin(), step.prefix.begin(), step.prefix.end());
    suffix_.insert(suffix_.end(), step.suffix.begin(), step.suffix.end());
  }
  for (const auto* ids : {&prefix_, &suffix_}) {
    for (TokenId id : *ids) {
      if (!HasToken(id))
        return absl::InvalidArgumentError(StrCat("tokenizer.json: post_processor: there is no token ", id));
    }
  }
  RETURN_IF_ERROR(BuildLeaves());
  RETURN_IF_ERROR(bpe_.SetMerges(spec_.merges));
  const auto& steps = spec_.pre_tokenizer.steps();
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].kind == PreTokenizerStep::kMetaspace && steps[i].scheme == PreTokenizerStep::kFirst) {
      needs_places_ = needs_places_ || i > 0 || !spec_.normalizer.empty();
    }
  }
  if (steps.size() == 1 && steps[0].kind == PreTokenizerStep::kKnown && !steps[0].prefix_space && spec_.byte_level) {
    only_splitter_ = steps[0].known;
  }
  simple_ = only_splitter_ >= SplitterKind::kGpt2 && normalized_.empty() &&
            std::all_of(spec_.normalizer.steps().begin(), spec_.normalizer.steps().end(),
                        [](const NormalizerStep& step) { return step.kind == NormalizerStep::kForm; });
  cuts_at_metaspaces_ =
      !spec_.byte_level && spec_.vocab_ids.Get(kMetaspace) &&
      std::none_of(spec_.merges.begin(), spec_.merges.end(), [this](const Merge& merge) {
        return texts_[merge.right].starts_with(kMetaspace) && !texts_[merge.left].ends_with(kMetaspace);
      });
  cuts_at_spaces_ = FindCuts();
  return absl::OkStatus();
}

absl::Status Tokenizer::BuildAddedTokens() {
  // The reference numbers added tokens itself: a token of the model has its id, the others follow the model's count.
  forms_.resize(spec_.added_tokens.size());
  form_of_.resize(size(), nullptr);
  std::unordered_set<std::string_view> special;
  auto next = static_cast<TokenId>(spec_.vocab.size());
  for (size_t i = 0; i < forms_.size(); ++i) {
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
    forms_[i] = token.normalized ? spec_.normalizer.Apply(token.content) : token.content;
    if (forms_[i].empty()) {
      return absl::UnimplementedError(
          StrCat(path, ".content: \"", token.content, "\" is nothing when it is normalised, which is not supported"));
    }
    if (!(token.normalized ? normalized_ : raw_).Add(forms_[i], &token)) {
      return absl::InvalidArgumentError(StrCat(path, ".content: \"", token.content, "\" is, normalised, listed twice"));
    }
  }
  for (size_t i = 0; i < forms_.size(); ++i) {
    const TokenId id = spec_.added_tokens[i].id;
    form_of_[id] = &forms_[i];
    if (special.contains(forms_[i])) kinds_[id] |= kSkip;
  }
  return absl::OkStatus();
}

void Tokenizer::BuildTokenBytes() {
  const bool byte_level = spec_.decoder.IsByteLevel();
  for (size_t id = 0; id < size(); ++id) {
    const std::string_view text = form_of_[id] ? std::string_view(*form_of_[id]) : texts_[id];
    if (!byte_level) {
      spec_.decoder.AppendBytes(text, &bytes_);
    } else if (!AppendFromAlphabet(text, &bytes_)) {
      bytes_.append(text);
    }
    bytes_end_[id] = static_cast<uint32_t>(bytes_.size());
  }
}

absl::Status Tokenizer::BuildLeaves() {
  bool complete = true;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    if (spec_.byte_level) {
      byte_tokens_[byte] = spec_.vocab_ids.Get(ToAlphabet(std::string_view(&c, 1))).value_or(kNoToken);
    } else if (spec_.byte_fallback) {
      constexpr std::string_view kHex = "0123456789ABCDEF";
      const std::string name = {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
      byte_tokens_[byte] = spec_.vocab_ids.Get(name).value_or(kNoToken);
    } else {
      byte_tokens_[byte] = kNoToken;
    }
    complete = complete && (byte_tokens_[byte] != kNoToken || !InUtf8(byte));
  }
  if (spec_.byte_level && spec_.byte_fallback && !complete) {
    return absl::UnimplementedError(
        "tokenizer.json: model.byte_fallback: true with ByteLevel and without all bytes is not supported");
  }
  if (spec_.unknown == kNoToken) {
    if (!complete) {
      return absl::InvalidArgumentError(
          "tokenizer.json: model.unk_token: it is not in the vocabulary, and neither are all bytes");
    }
    spec_.unknown.reset();
  }
  const TokenId unknown = spec_.unknown.value_or(kNoToken);
  if (spec_.byte_level) {
    drops_bytes_ = !complete && unknown == kNoToken;
    bpe_.SetBytes(byte_tokens_, unknown, spec_.fuse_unknown);
    return absl::OkStatus();
  }
  std::vector<std::pair<uint32_t, TokenId>> characters;
  for (const auto& entry : spec_.vocab) {
    const std::string_view token = spec_.Text(entry);
    if (token.empty() || token.size() > 4) continue;
    int length;
    const uint32_t c = DecodeUtf8(token.data(), token.data() + token.size(), &length);
    if (static_cast<size_t>(length) == token.size()) characters.emplace_back(c, entry.id);
  }
  bpe_.SetCharacters(characters, byte_tokens_, unknown, spec_.fuse_unknown);
  return absl::OkStatus();
}

bool Tokenizer::FindCuts() const {
  const auto& steps = spec_.pre_tokenizer.steps();
  if (spec_.byte_level) {
    for (const NormalizerStep& step : spec_.normalizer.steps()) {
      if (step.kind != NormalizerStep::kForm) return false;
    }
    for (const PreTokenizerStep& step : steps) {
      if (step.kind != PreTokenizerStep::kKnown) return false;
    }
    // Without a splitter nothing cuts, and merges may lie across any place.
    if (std::none_of(steps.begin(), steps.end(), [](const PreTokenizerStep& step) {
          return step.known != SplitterKind::kNone && step.known != SplitterKind::kDigits &&
                 step.known != SplitterKind::kDigitRuns;
        })) {
      return false;
    }
  } else {
    // Spaces become U+2581, all in the normalizer or all in the pre-tokenizer, and that is what may be cut at.
    if (!cuts_at_metaspaces_ || spec_.ignore_merges) return false;
    const auto& normalizers = spec_.normalizer.steps();
    const bool replaces = normalizers.size() == 1 && normalizers[0].kind == NormalizerStep::kReplace &&
                          normalizers[0].content == kMetaspace && normalizers[0].pattern->literal() &&
                          *normalizers[0].pattern->literal() == " ";
    const bool metaspace =
        steps.size() == 1 && steps[0].kind == PreTokenizerStep::kMetaspace && steps[0].replacement == kMetaspace;
    const bool no_cuts = steps.empty() || (steps.size() == 1 && steps[0].kind == PreTokenizerStep::kSplit &&
                                           steps[0].pattern->literal() && *steps[0].pattern->literal() == " ");
    if (!(replaces && no_cuts) && !(normalizers.empty() && metaspace)) return false;
  }
  for (size_t i = 0; i < forms_.size(); ++i) {
    const AddedToken& token = spec_.added_tokens[i];
    // A form may have U+2581 where the text has a space.
    if (!spec_.byte_level && token.normalized && forms_[i].find(kMetaspace) != std::string::npos) return false;
    if (token.rstrip || HoldsACut(forms_[i]) || HoldsACut(token.content) || (token.single_word && forms_[i][0] == ' '))
      return false;
  }
  return true;
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

std::vector<TokenId> Tokenizer::Leaves() const {
  std::vector<TokenId> leaves;
  bool complete = true;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_tokens_[byte] != kNoToken) leaves.push_back(byte_tokens_[byte]);
    complete = complete && (byte_tokens_[byte] != kNoToken || !InUtf8(byte));
  }
  if (spec_.unknown) leaves.push_back(*spec_.unknown);
  if (spec_.byte_level) return leaves;
  std::string put_in;
  for (const NormalizerStep& step : spec_.normalizer.steps()) put_in += step.content;
  for (const PreTokenizerStep& step : spec_.pre_tokenizer.steps()) put_in += step.replacement;
  for (const auto& entry : spec_.vocab) {
    const std::string_view token = spec_.Text(entry);
    if (token.empty() || token.size() > 4) continue;
    int length;
    DecodeUtf8(token.data(), token.data() + token.size(), &length);
    if (static_cast<size_t>(length) != token.size()) continue;
    if (!complete || put_in.find(token) != std::string::npos) leaves.push_back(entry.id);
  }
  return leaves;
}

std::unique_ptr<Encoder> Tokenizer::Borrow() const {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      std::unique_ptr<Encoder> encoder = std::move(idle_.back());
      idle_.pop_back();
      return encoder;
    }
  }
  return std::make_unique<Encoder>(this);
}

void Tokenizer::GiveBack(std::unique_ptr<Encoder> encoder) const {
  std::lock_guard<std::mutex> lock(mutex_);
  idle_.push_back(std::move(encoder));
}

std::vector<TokenId> Tokenizer::Encode(std::string_view text, bool add_special_tokens) const {
  std::unique_ptr<Encoder> encoder = Borrow();
  std::vector<TokenId> ids;
  encoder->Encode(text, add_special_tokens, &ids);
  GiveBack(std::move(encoder));
  return ids;
}

std::string Tokenizer::DecodeTo(const std::vector<TokenId>& ids, bool skip_special_tokens, bool raw) const {
  const bool byte_level = spec_.decoder.IsByteLevel();
  std::string bytes;
  std::vector<std::string> tokens;
  for (TokenId id : ids) {
    if (!HasToken(id) || (skip_special_tokens && (kinds_[id] & kSkip))) continue;
    if (byte_level) {
      bytes.append(TokenBytes(id));
    } else {
      tokens.emplace_back(form_of_[id] ? std::string_view(*form_of_[id]) : texts_[id]);
    }
  }
  if (byte_level) return raw ? bytes : Utf8Lossy(bytes);
  return spec_.decoder.Decode(std::move(tokens), raw);
}

std::string Tokenizer::DecodeBytes(const std::vector<TokenId>& ids, bool skip_special_tokens) const {
  return DecodeTo(ids, skip_special_tokens, true);
}

std::string Tokenizer::Decode(const std::vector<TokenId>& ids, bool skip_special_tokens) const {
  return DecodeTo(ids, skip_special_tokens, false);
}

}  // namespace editd::text
