// The file is read with a plain recursive walk; `path` names where we are ("pre_tokenizer.pretokenizers[1].type"), and
// every error begins with it. What is around the model (normalizer, pre-tokenizer, ...) is read in tokenizer_parts.cc.
#include "plugins/lib/text/tokenizer_json.h"

#include <algorithm>
#include <utility>

#include "plugins/lib/text/flat_table.h"
#include "plugins/lib/text/json_reader.h"
#include "plugins/lib/text/tokenizer_parts.h"

namespace editd::text {
namespace {

// Longer added tokens would make finding them slow.
constexpr size_t kMaxAddedBytes = 1024;

absl::Status ParseVocab(const Reader& model, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const object vocab, model.GetObject("vocab"));
  const std::string path = model.Path("vocab");
  size_t bytes = 0, count = 0;
  for (auto member : vocab) {
    bytes += member.key.size();
    ++count;
  }
  spec->text.reserve(bytes);
  spec->vocab.reserve(count);
  spec->vocab_ids.Reset(spec->text.data(), count);  // Reserved, so the text does not move any more.
  for (auto member : vocab) {
    uint64_t number = 0;
    if (member.value.get(number) || number > kMaxId) {
      ASSIGN_OR_RETURN(const TokenId id, GetId(Member(path, member.key), member.value));
      (void)id;
    }
    const auto id = static_cast<TokenId>(number);
    const auto begin = static_cast<uint32_t>(spec->text.size());
    spec->text.insert(spec->text.end(), member.key.begin(), member.key.end());
    spec->vocab.push_back({begin, static_cast<uint32_t>(member.key.size()), id});
    if (!spec->vocab_ids.Insert(spec->Text(spec->vocab.back()), id)) {
      return Invalid(Member(path, member.key), "listed twice");
    }
  }
  std::vector<bool> used;
  for (const TokenizerSpec::Entry& entry : spec->vocab) {
    if (entry.id >= used.size()) used.resize(std::max<size_t>(entry.id + 1, used.size() * 2));
    if (used[entry.id])
      return Invalid(Member(path, spec->Text(entry)), StrCat("another token has id ", entry.id, " too"));
    used[entry.id] = true;
  }
  return absl::OkStatus();
}

absl::Status ParseMerges(const Reader& model, TokenizerSpec* spec) {
  const StringTable& ids = spec->vocab_ids;
  ASSIGN_OR_RETURN(const array merges, model.GetArray("merges"));
  const std::string path = model.Path("merges");
  spec->merges.reserve(merges.size());
  // In batches: hashing fetches the slots of many look-ups from memory at the same time.
  struct Lookup {
    std::string_view text[3];  // Left, right, joined.
    uint64_t hash[3];
    size_t index;
  };
  constexpr size_t kBatch = 32;
  std::vector<Lookup> batch;
  std::vector<std::string> joins(kBatch);
  auto resolve = [&]() -> absl::Status {
    for (const Lookup& lookup : batch) {
      TokenId found[3];
      for (int i = 0; i < 3; ++i) {
        const std::optional<uint32_t> id = ids.Get(lookup.text[i], lookup.hash[i]);
        if (!id) {
          return Invalid(Item(path, lookup.index), StrCat("token \"", lookup.text[i], "\" is not in the vocabulary"));
        }
        found[i] = *id;
      }
      spec->merges.push_back({found[0], found[1], found[2]});
    }
    batch.clear();
    return absl::OkStatus();
  };
  size_t index = 0;
  bool pairs = false, strings = false;
  for (const element item : merges) {
    Lookup lookup;
    lookup.index = index++;
    std::string_view& left = lookup.text[0];
    std::string_view& right = lookup.text[1];
    std::string_view line;
    array pair;
    if (!item.get(line)) {
      strings = true;
      if (line.substr(0, 8) == "#version") continue;
      const size_t space = line.find(' ');
      if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
        return Invalid(Item(path, lookup.index),
                       StrCat("expected two tokens with a space between them, not ", Shown(item)));
      }
      left = line.substr(0, space);
      right = line.substr(space + 1);
    } else {
      pairs = true;
      if (item.get(pair) || pair.size() != 2 || pair.at(0).get(left) || pair.at(1).get(right)) {
        return Invalid(Item(path, lookup.index), StrCat("expected a pair of tokens, not ", Shown(item)));
      }
    }
    if (pairs && strings) return Invalid(Item(path, lookup.index), "lists and strings are mixed");
    std::string& joined = joins[batch.size()];
    joined.assign(left).append(right);
    lookup.text[2] = joined;
    for (int i = 0; i < 3; ++i) {
      lookup.hash[i] = ids.Hash(lookup.text[i]);
      ids.Prefetch(lookup.hash[i]);
    }
    batch.push_back(lookup);
    if (batch.size() == kBatch) RETURN_IF_ERROR(resolve());
  }
  return resolve();
}

absl::Status ParseModel(const element& value, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const Reader model, Reader::Of("model", value));
  if (model.Find("type")) {
    ASSIGN_OR_RETURN(const std::string_view type, model.GetString("type"));
    if (type != "BPE") return Unsupported("model.type", *model.Find("type"));
  }
  RETURN_IF_ERROR(model.OnlyKeys({"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
                                  "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  if (const std::optional<element> dropout = model.FindValue("dropout")) {
    double probability;
    if (dropout->get(probability) || probability != 0) return Unsupported("model.dropout", *dropout);
  }
  for (std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.FindValue(key)) continue;
    ASSIGN_OR_RETURN(const std::string_view affix, model.GetString(key));
    if (!affix.empty()) return Unsupported(model.Path(key), *model.Find(key));
  }
  ASSIGN_OR_RETURN(spec->byte_fallback, model.GetBool("byte_fallback", false));
  ASSIGN_OR_RETURN(spec->fuse_unknown, model.GetBool("fuse_unk", false));
  ASSIGN_OR_RETURN(spec->ignore_merges, model.GetBool("ignore_merges", false));
  RETURN_IF_ERROR(ParseVocab(model, spec));
  RETURN_IF_ERROR(ParseMerges(model, spec));
  if (model.FindValue("unk_token")) {
    ASSIGN_OR_RETURN(const std::string_view unknown, model.GetString("unk_token"));
    spec->unknown = spec->vocab_ids.Get(unknown);
    // Without unknown bytes (the caller looks) it would never be used, so that files get away with it.
    if (!spec->unknown || unknown.empty()) spec->unknown = kNoToken;
  }
  return absl::OkStatus();
}

absl::Status ParseAddedTokens(const array& items, TokenizerSpec* spec) {
  size_t index = 0;
  for (const element item : items) {
    ASSIGN_OR_RETURN(const Reader reader, Reader::Of(Item("added_tokens", index++), item));
    RETURN_IF_ERROR(reader.OnlyKeys({"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
    AddedToken token;
    ASSIGN_OR_RETURN(const element id, reader.Get("id"));
    ASSIGN_OR_RETURN(token.id, GetId(reader.Path("id"), id));
    ASSIGN_OR_RETURN(const std::string_view content, reader.GetString("content"));
    if (content.empty()) return Invalid(reader.Path("content"), "empty");
    if (content.size() > kMaxAddedBytes) {
      return absl::UnimplementedError(StrCat("tokenizer.json: ", reader.Path("content"), ": ", content.size(),
                                             " bytes are not supported, only up to ", kMaxAddedBytes));
    }
    token.content = content;
    ASSIGN_OR_RETURN(token.single_word, reader.GetBool("single_word"));
    ASSIGN_OR_RETURN(token.lstrip, reader.GetBool("lstrip"));
    ASSIGN_OR_RETURN(token.rstrip, reader.GetBool("rstrip"));
    ASSIGN_OR_RETURN(token.normalized, reader.GetBool("normalized"));
    ASSIGN_OR_RETURN(token.special, reader.GetBool("special"));
    spec->added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerJson(std::string_view json) {
  simdjson::dom::parser parser;
  element root;
  if (const auto error = parser.parse(simdjson::padded_string(json)).get(root)) {
    return absl::InvalidArgumentError(StrCat("tokenizer.json: not JSON: ", simdjson::error_message(error)));
  }
  object members;
  if (root.get(members)) return absl::InvalidArgumentError("tokenizer.json: not a JSON object");
  const Reader reader("", members);
  RETURN_IF_ERROR(reader.OnlyKeys({"version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer",
                                   "post_processor", "decoder", "model"}));
  TokenizerSpec spec;
  if (const std::optional<element> version = reader.Find("version")) {
    std::string_view text;
    if (version->get(text) || text != "1.0") return Unsupported("version", *version);
  }
  for (std::string_view key : {"truncation", "padding"}) {
    if (const std::optional<element> value = reader.FindValue(key)) return Unsupported(key, *value);
  }
  ASSIGN_OR_RETURN(const element model, reader.Get("model"));
  RETURN_IF_ERROR(ParseModel(model, &spec));
  if (const std::optional<element> value = reader.FindValue("normalizer")) {
    RETURN_IF_ERROR(ParseNormalizer("normalizer", *value, &spec.normalizer));
  }
  if (const std::optional<element> value = reader.FindValue("pre_tokenizer")) {
    RETURN_IF_ERROR(ParsePreTokenizer("pre_tokenizer", *value, &spec.pre_tokenizer, &spec.byte_level));
  }
  if (const std::optional<element> value = reader.FindValue("decoder")) {
    RETURN_IF_ERROR(ParseDecoder("decoder", *value, &spec.decoder));
  }
  if (const std::optional<element> value = reader.FindValue("post_processor")) {
    RETURN_IF_ERROR(ParsePostProcessor("post_processor", *value, &spec.post_processor));
  }
  if (reader.FindValue("added_tokens")) {
    ASSIGN_OR_RETURN(const array added, reader.GetArray("added_tokens"));
    RETURN_IF_ERROR(ParseAddedTokens(added, &spec));
  }
  return spec;
}

}  // namespace editd::text
