// The file is read with a plain recursive walk; `path` names where we are ("pre_tokenizer.pretokenizers[1].type"), and
// every error begins with it. A key that we do not know is refused too: it may change what the others mean.
#include "plugins/lib/text/tokenizer_json.h"

#include <simdjson.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "plugins/lib/text/flat_table.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;

// More would make tables by id too large; no vocabulary comes near.
constexpr uint64_t kMaxId = (1u << 21) - 1;
// Longer added tokens would make finding them slow.
constexpr size_t kMaxAddedBytes = 1024;

std::string Shown(const element& value) {
  std::string text = simdjson::minify(value);
  if (text.size() > 300) text = text.substr(0, 300) + "...";
  return text;
}

absl::Status Invalid(std::string_view path, std::string_view what) {
  return absl::InvalidArgumentError(StrCat("tokenizer.json: ", path, ": ", what));
}

absl::Status Unsupported(std::string_view path, const element& value) {
  return absl::UnimplementedError(StrCat("tokenizer.json: ", path, ": ", Shown(value), " is not supported"));
}

std::string Member(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : StrCat(path, ".", key);
}
std::string Item(std::string_view path, size_t index) { return StrCat(path, "[", index, "]"); }

// Reads members of an object, and refuses those that nobody asked for.
class Reader {
 public:
  Reader(std::string path, object members) : path_(std::move(path)), members_(members) {}

  static absl::StatusOr<Reader> Of(std::string path, const element& value) {
    object members;
    if (value.get(members)) return Invalid(path, StrCat("expected an object, not ", Shown(value)));
    return Reader(std::move(path), members);
  }

  std::string Path(std::string_view key) const { return Member(path_, key); }

  absl::Status OnlyKeys(std::initializer_list<std::string_view> keys) const {
    for (auto member : members_) {
      if (std::find(keys.begin(), keys.end(), member.key) == keys.end()) {
        return absl::UnimplementedError(StrCat("tokenizer.json: ", Path(member.key), " is not supported"));
      }
    }
    return absl::OkStatus();
  }

  std::optional<element> Find(std::string_view key) const {
    element value;
    if (members_.at_key(key).get(value)) return std::nullopt;
    return value;
  }
  // The same, but null counts as missing.
  std::optional<element> FindValue(std::string_view key) const {
    std::optional<element> value = Find(key);
    return value && value->is_null() ? std::nullopt : value;
  }

  absl::StatusOr<element> Get(std::string_view key) const {
    std::optional<element> value = Find(key);
    if (!value) return Invalid(Path(key), "missing");
    return *value;
  }
  absl::StatusOr<bool> GetBool(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    bool result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected true or false, not ", Shown(value)));
    return result;
  }
  absl::StatusOr<bool> GetBool(std::string_view key, bool missing) const {
    return FindValue(key) ? GetBool(key) : absl::StatusOr<bool>(missing);
  }
  absl::StatusOr<std::string_view> GetString(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    std::string_view result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected a string, not ", Shown(value)));
    return result;
  }
  absl::StatusOr<array> GetArray(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    array result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected an array, not ", Shown(value)));
    return result;
  }
  absl::StatusOr<object> GetObject(std::string_view key) const {
    ASSIGN_OR_RETURN(const element value, Get(key));
    object result;
    if (value.get(result)) return Invalid(Path(key), StrCat("expected an object, not ", Shown(value)));
    return result;
  }

 private:
  std::string path_;
  object members_;
};

absl::StatusOr<TokenId> GetId(const std::string& path, const element& value) {
  uint64_t id;
  if (value.get(id)) return Invalid(path, StrCat("expected an id, not ", Shown(value)));
  if (id > kMaxId) return Invalid(path, StrCat("id ", id, " is above ", kMaxId));
  return static_cast<TokenId>(id);
}

absl::Status ParseNormalizer(const std::string& path, const element& value, TokenizerSpec* spec) {
  if (value.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  if (type == "NFC") {
    spec->nfc = true;
    return reader.OnlyKeys({"type"});
  }
  if (type != "Sequence") return Unsupported(reader.Path("type"), *reader.Find("type"));
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "normalizers"}));
  ASSIGN_OR_RETURN(const array items, reader.GetArray("normalizers"));
  size_t index = 0;
  for (const element item : items) {
    RETURN_IF_ERROR(ParseNormalizer(Item(reader.Path("normalizers"), index++), item, spec));
  }
  return absl::OkStatus();
}

absl::Status ParseSplit(const Reader& reader, std::vector<Pipeline::Step>* steps) {
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "pattern", "behavior", "invert"}));
  ASSIGN_OR_RETURN(const element pattern, reader.Get("pattern"));
  ASSIGN_OR_RETURN(const Reader pattern_reader, Reader::Of(reader.Path("pattern"), pattern));
  RETURN_IF_ERROR(pattern_reader.OnlyKeys({"Regex"}));
  ASSIGN_OR_RETURN(const std::string_view regex, pattern_reader.GetString("Regex"));
  const std::optional<SplitterKind> kind = SplitterForPattern(regex);
  if (!kind) return Unsupported(pattern_reader.Path("Regex"), *pattern_reader.Find("Regex"));
  ASSIGN_OR_RETURN(const std::string_view behavior, reader.GetString("behavior"));
  ASSIGN_OR_RETURN(const bool invert, reader.GetBool("invert"));
  // The known patterns match everywhere, so that inverted there is nothing to remove.
  if (behavior != "Isolated" && !(behavior == "Removed" && invert)) {
    return Unsupported(reader.Path("behavior"), *reader.Find("behavior"));
  }
  steps->push_back({*kind, false});
  return absl::OkStatus();
}

absl::Status ParsePreTokenizer(const std::string& path, const element& value, std::vector<Pipeline::Step>* steps,
                               bool* byte_level) {
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  if (*byte_level) {
    return absl::UnimplementedError(
        StrCat("tokenizer.json: ", path, ": \"", type, "\" after ByteLevel is not supported"));
  }
  if (type == "Split") return ParseSplit(reader, steps);
  if (type == "Digits") {
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "individual_digits"}));
    ASSIGN_OR_RETURN(const bool individual, reader.GetBool("individual_digits"));
    steps->push_back({individual ? SplitterKind::kDigits : SplitterKind::kDigitRuns, false});
    return absl::OkStatus();
  }
  if (type == "ByteLevel") {
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    ASSIGN_OR_RETURN(const bool prefix_space, reader.GetBool("add_prefix_space"));
    ASSIGN_OR_RETURN(const bool use_regex, reader.GetBool("use_regex", true));
    steps->push_back({use_regex ? SplitterKind::kGpt2 : SplitterKind::kNone, prefix_space});
    *byte_level = true;
    return absl::OkStatus();
  }
  if (type != "Sequence") return Unsupported(reader.Path("type"), *reader.Find("type"));
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "pretokenizers"}));
  ASSIGN_OR_RETURN(const array items, reader.GetArray("pretokenizers"));
  size_t index = 0;
  for (const element item : items) {
    RETURN_IF_ERROR(ParsePreTokenizer(Item(reader.Path("pretokenizers"), index++), item, steps, byte_level));
  }
  return absl::OkStatus();
}

// `*byte_level`: whether a ByteLevel was seen; Fuse may only follow it.
absl::Status ParseDecoder(const std::string& path, const element& value, bool* byte_level) {
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  if (type == "ByteLevel" && !*byte_level) {
    *byte_level = true;
    return reader.OnlyKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  }
  if (type == "Fuse" && *byte_level) return reader.OnlyKeys({"type"});
  if (type != "Sequence") return Unsupported(reader.Path("type"), *reader.Find("type"));
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "decoders"}));
  ASSIGN_OR_RETURN(const array items, reader.GetArray("decoders"));
  size_t index = 0;
  for (const element item : items) {
    RETURN_IF_ERROR(ParseDecoder(Item(reader.Path("decoders"), index++), item, byte_level));
  }
  return absl::OkStatus();
}

absl::Status ParseTemplate(const Reader& reader, TokenizerSpec* spec) {
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "single", "pair", "special_tokens"}));
  ASSIGN_OR_RETURN(const array single, reader.GetArray("single"));
  ASSIGN_OR_RETURN(const object special_tokens, reader.GetObject("special_tokens"));
  bool text_seen = false;
  size_t index = 0;
  for (const element item : single) {
    const std::string path = Item(reader.Path("single"), index++);
    ASSIGN_OR_RETURN(const Reader piece, Reader::Of(path, item));
    if (const std::optional<element> sequence = piece.Find("Sequence")) {
      ASSIGN_OR_RETURN(const Reader inner, Reader::Of(piece.Path("Sequence"), *sequence));
      ASSIGN_OR_RETURN(const std::string_view id, inner.GetString("id"));
      if (id != "A" || text_seen) return Unsupported(path, item);
      text_seen = true;
      continue;
    }
    const std::optional<element> token = piece.Find("SpecialToken");
    if (!token) return Unsupported(path, item);
    ASSIGN_OR_RETURN(const Reader inner, Reader::Of(piece.Path("SpecialToken"), *token));
    ASSIGN_OR_RETURN(const std::string_view name, inner.GetString("id"));
    element entry;
    if (special_tokens.at_key(name).get(entry)) {
      return Invalid(Member(reader.Path("special_tokens"), name), "missing");
    }
    ASSIGN_OR_RETURN(const Reader named, Reader::Of(Member(reader.Path("special_tokens"), name), entry));
    ASSIGN_OR_RETURN(const array ids, named.GetArray("ids"));
    for (const element id : ids) {
      ASSIGN_OR_RETURN(const TokenId parsed, GetId(named.Path("ids"), id));
      (text_seen ? spec->suffix : spec->prefix).push_back(parsed);
    }
  }
  if (!text_seen) return Invalid(reader.Path("single"), "the text (Sequence A) is missing");
  return absl::OkStatus();
}

absl::Status ParsePostProcessor(const std::string& path, const element& value, bool* seen, TokenizerSpec* spec) {
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  if (type == "ByteLevel") return reader.OnlyKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"});
  if (type == "TemplateProcessing" && !*seen) {
    *seen = true;
    return ParseTemplate(reader, spec);
  }
  if (type != "Sequence") return Unsupported(reader.Path("type"), *reader.Find("type"));
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "processors"}));
  ASSIGN_OR_RETURN(const array items, reader.GetArray("processors"));
  size_t index = 0;
  for (const element item : items) {
    RETURN_IF_ERROR(ParsePostProcessor(Item(reader.Path("processors"), index++), item, seen, spec));
  }
  return absl::OkStatus();
}

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
  ASSIGN_OR_RETURN(const bool byte_fallback, model.GetBool("byte_fallback", false));
  if (byte_fallback) return Unsupported("model.byte_fallback", *model.Find("byte_fallback"));
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
    RETURN_IF_ERROR(ParseNormalizer("normalizer", *value, &spec));
  }
  std::vector<Pipeline::Step> steps;
  bool byte_level = false;
  ASSIGN_OR_RETURN(const element pre_tokenizer, reader.Get("pre_tokenizer"));
  if (!pre_tokenizer.is_null()) {
    RETURN_IF_ERROR(ParsePreTokenizer("pre_tokenizer", pre_tokenizer, &steps, &byte_level));
  }
  if (!byte_level) {
    return absl::UnimplementedError("tokenizer.json: pre_tokenizer: without a ByteLevel it is not supported");
  }
  spec.pipeline = Pipeline(std::move(steps));
  ASSIGN_OR_RETURN(const element decoder, reader.Get("decoder"));
  byte_level = false;
  if (!decoder.is_null()) RETURN_IF_ERROR(ParseDecoder("decoder", decoder, &byte_level));
  if (!byte_level) return absl::UnimplementedError("tokenizer.json: decoder: without a ByteLevel it is not supported");
  if (const std::optional<element> value = reader.FindValue("post_processor")) {
    bool seen = false;
    RETURN_IF_ERROR(ParsePostProcessor("post_processor", *value, &seen, &spec));
  }
  if (reader.FindValue("added_tokens")) {
    ASSIGN_OR_RETURN(const array added, reader.GetArray("added_tokens"));
    RETURN_IF_ERROR(ParseAddedTokens(added, &spec));
  }
  return spec;
}

}  // namespace editd::text
