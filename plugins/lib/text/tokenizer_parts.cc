#include "plugins/lib/text/tokenizer_parts.h"

#include <memory>
#include <optional>
#include <utility>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

// {"String": "..."} or {"Regex": "..."}.
absl::StatusOr<std::shared_ptr<const Pattern>> ParsePattern(const Reader& owner) {
  ASSIGN_OR_RETURN(const element value, owner.Get("pattern"));
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(owner.Path("pattern"), value));
  RETURN_IF_ERROR(reader.OnlyKeys({"String", "Regex"}));
  if (reader.Find("String")) {
    ASSIGN_OR_RETURN(const std::string_view literal, reader.GetString("String"));
    if (literal.empty()) return Unsupported(reader.Path("String"), *reader.Find("String"));
    return std::make_shared<const Pattern>(std::string(literal));
  }
  ASSIGN_OR_RETURN(const std::string_view text, reader.GetString("Regex"));
  absl::StatusOr<Regex> regex = Regex::Compile(text);
  if (!regex.ok()) {
    return Annotate(regex.status(),
                    StrCat("tokenizer.json: ", reader.Path("Regex"), ": ", Shown(*reader.Find("Regex"))));
  }
  return std::make_shared<const Pattern>(*std::move(regex));
}

// A member that is one character.
absl::StatusOr<std::string> ParseCharacter(const Reader& reader, std::string_view key) {
  ASSIGN_OR_RETURN(const std::string_view text, reader.GetString(key));
  int length = 0;
  if (!text.empty()) DecodeUtf8(text.data(), text.data() + text.size(), &length);
  if (text.empty() || static_cast<size_t>(length) != text.size()) {
    return Invalid(reader.Path(key), StrCat("expected one character, not ", Shown(*reader.Find(key))));
  }
  return std::string(text);
}

absl::StatusOr<size_t> ParseCount(const Reader& reader, std::string_view key) {
  ASSIGN_OR_RETURN(const element value, reader.Get(key));
  uint64_t count;
  if (value.get(count)) return Invalid(reader.Path(key), StrCat("expected a count, not ", Shown(value)));
  return count;
}

// Calls each(path, item) for the members of a Sequence's list.
template <typename Each>
absl::Status ParseSequence(const Reader& reader, std::string_view key, Each&& each) {
  RETURN_IF_ERROR(reader.OnlyKeys({"type", key}));
  ASSIGN_OR_RETURN(const array items, reader.GetArray(key));
  size_t index = 0;
  for (const element item : items) RETURN_IF_ERROR(each(Item(reader.Path(key), index++), item));
  return absl::OkStatus();
}

absl::StatusOr<PreTokenizerStep::Behavior> ParseBehavior(const Reader& reader) {
  ASSIGN_OR_RETURN(const std::string_view name, reader.GetString("behavior"));
  if (name == "Removed") return PreTokenizerStep::kRemoved;
  if (name == "Isolated") return PreTokenizerStep::kIsolated;
  if (name == "MergedWithPrevious") return PreTokenizerStep::kMergedWithPrevious;
  if (name == "MergedWithNext") return PreTokenizerStep::kMergedWithNext;
  if (name == "Contiguous") return PreTokenizerStep::kContiguous;
  return Unsupported(reader.Path("behavior"), *reader.Find("behavior"));
}

absl::StatusOr<PreTokenizerStep> ParseSplit(const Reader& reader) {
  RETURN_IF_ERROR(reader.OnlyKeys({"type", "pattern", "behavior", "invert"}));
  PreTokenizerStep step;
  step.kind = PreTokenizerStep::kSplit;
  ASSIGN_OR_RETURN(step.behavior, ParseBehavior(reader));
  ASSIGN_OR_RETURN(step.invert, reader.GetBool("invert"));
  ASSIGN_OR_RETURN(const element pattern, reader.Get("pattern"));
  std::string_view regex;
  if (!pattern["Regex"].get(regex)) {
    const std::optional<SplitterKind> known = SplitterForPattern(regex);
    // Known patterns match everywhere, so that inverted there is nothing to remove.
    if (known && (step.behavior == PreTokenizerStep::kIsolated ||
                  (step.behavior == PreTokenizerStep::kRemoved && step.invert))) {
      step.kind = PreTokenizerStep::kKnown;
      step.known = *known;
      return step;
    }
  }
  ASSIGN_OR_RETURN(step.pattern, ParsePattern(reader));
  return step;
}

// "prepend_scheme", or what older files say instead.
absl::StatusOr<PreTokenizerStep::Scheme> ParseScheme(const Reader& reader) {
  if (reader.FindValue("prepend_scheme")) {
    ASSIGN_OR_RETURN(const std::string_view name, reader.GetString("prepend_scheme"));
    ASSIGN_OR_RETURN(const bool prefix, reader.GetBool("add_prefix_space", true));
    if (!prefix && name != "never") return Unsupported(reader.Path("prepend_scheme"), *reader.Find("prepend_scheme"));
    if (name == "always") return PreTokenizerStep::kAlways;
    if (name == "first") return PreTokenizerStep::kFirst;
    if (name == "never") return PreTokenizerStep::kNever;
    return Unsupported(reader.Path("prepend_scheme"), *reader.Find("prepend_scheme"));
  }
  ASSIGN_OR_RETURN(const bool always, reader.GetBool("add_prefix_space", true));
  return always ? PreTokenizerStep::kAlways : PreTokenizerStep::kNever;
}

absl::Status ParseTemplate(const Reader& reader, PostProcessorStep* step) {
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
      (text_seen ? step->suffix : step->prefix).push_back(parsed);
    }
  }
  if (!text_seen) return Invalid(reader.Path("single"), "the text (Sequence A) is missing");
  return absl::OkStatus();
}

absl::StatusOr<DecoderStep> ParseDecoderStep(std::string_view type, const Reader& reader) {
  DecoderStep step;
  if (type == "ByteLevel") {
    step.kind = DecoderStep::kByteLevel;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  } else if (type == "Fuse") {
    step.kind = DecoderStep::kFuse;
    RETURN_IF_ERROR(reader.OnlyKeys({"type"}));
  } else if (type == "ByteFallback") {
    step.kind = DecoderStep::kByteFallback;
    RETURN_IF_ERROR(reader.OnlyKeys({"type"}));
  } else if (type == "Replace") {
    step.kind = DecoderStep::kReplace;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "pattern", "content"}));
    ASSIGN_OR_RETURN(const std::string_view content, reader.GetString("content"));
    step.content = content;
    ASSIGN_OR_RETURN(step.pattern, ParsePattern(reader));
    if (step.pattern->literal() == nullptr) return Unsupported(reader.Path("pattern"), *reader.Find("pattern"));
  } else if (type == "Strip") {
    step.kind = DecoderStep::kStrip;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "content", "start", "stop"}));
    ASSIGN_OR_RETURN(step.content, ParseCharacter(reader, "content"));
    ASSIGN_OR_RETURN(step.start, ParseCount(reader, "start"));
    ASSIGN_OR_RETURN(step.stop, ParseCount(reader, "stop"));
  } else if (type == "Metaspace") {
    step.kind = DecoderStep::kMetaspace;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"}));
    ASSIGN_OR_RETURN(step.content, ParseCharacter(reader, "replacement"));
    ASSIGN_OR_RETURN(const PreTokenizerStep::Scheme scheme, ParseScheme(reader));
    step.strips_first = scheme != PreTokenizerStep::kNever;
  } else {
    return Unsupported(reader.Path("type"), *reader.Find("type"));
  }
  return step;
}

}  // namespace

absl::Status ParseNormalizer(const std::string& path, const element& value, Normalizer* normalizer) {
  if (value.is_null()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  NormalizerStep step;
  step.kind = NormalizerStep::kForm;
  if (type == "NFC") {
    step.form = Form::kNfc;
  } else if (type == "NFD") {
    step.form = Form::kNfd;
  } else if (type == "NFKC") {
    step.form = Form::kNfkc;
  } else if (type == "NFKD") {
    step.form = Form::kNfkd;
  } else if (type == "Lowercase") {
    step.kind = NormalizerStep::kLowercase;
  } else if (type == "Strip") {
    step.kind = NormalizerStep::kStrip;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "strip_left", "strip_right"}));
    ASSIGN_OR_RETURN(step.left, reader.GetBool("strip_left"));
    ASSIGN_OR_RETURN(step.right, reader.GetBool("strip_right"));
    normalizer->Add(std::move(step));
    return absl::OkStatus();
  } else if (type == "Prepend") {
    step.kind = NormalizerStep::kPrepend;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "prepend"}));
    ASSIGN_OR_RETURN(const std::string_view content, reader.GetString("prepend"));
    if (content.empty()) return Unsupported(reader.Path("prepend"), *reader.Find("prepend"));
    step.content = content;
    normalizer->Add(std::move(step));
    return absl::OkStatus();
  } else if (type == "Replace") {
    step.kind = NormalizerStep::kReplace;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "pattern", "content"}));
    ASSIGN_OR_RETURN(const std::string_view content, reader.GetString("content"));
    step.content = content;
    ASSIGN_OR_RETURN(step.pattern, ParsePattern(reader));
    normalizer->Add(std::move(step));
    return absl::OkStatus();
  } else if (type == "Sequence") {
    return ParseSequence(reader, "normalizers", [&](const std::string& item_path, const element& item) {
      return ParseNormalizer(item_path, item, normalizer);
    });
  } else {
    return Unsupported(reader.Path("type"), *reader.Find("type"));
  }
  normalizer->Add(std::move(step));
  return reader.OnlyKeys({"type"});
}

absl::Status ParsePreTokenizer(const std::string& path, const element& value, PreTokenizer* pre_tokenizer,
                               bool* byte_level) {
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  if (*byte_level) {
    return absl::UnimplementedError(
        StrCat("tokenizer.json: ", path, ": \"", type, "\" after ByteLevel is not supported"));
  }
  PreTokenizerStep step;
  if (type == "Sequence") {
    return ParseSequence(reader, "pretokenizers", [&](const std::string& item_path, const element& item) {
      return ParsePreTokenizer(item_path, item, pre_tokenizer, byte_level);
    });
  }
  if (type == "Split") {
    ASSIGN_OR_RETURN(step, ParseSplit(reader));
  } else if (type == "Digits") {
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "individual_digits"}));
    ASSIGN_OR_RETURN(const bool individual, reader.GetBool("individual_digits"));
    step.known = individual ? SplitterKind::kDigits : SplitterKind::kDigitRuns;
  } else if (type == "ByteLevel") {
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    ASSIGN_OR_RETURN(step.prefix_space, reader.GetBool("add_prefix_space"));
    ASSIGN_OR_RETURN(const bool use_regex, reader.GetBool("use_regex", true));
    step.known = use_regex ? SplitterKind::kGpt2 : SplitterKind::kNone;
    *byte_level = true;
    if (!use_regex && !step.prefix_space) return absl::OkStatus();  // Neither cuts nor prefixes.
  } else if (type == "Metaspace") {
    step.kind = PreTokenizerStep::kMetaspace;
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep"}));
    ASSIGN_OR_RETURN(step.replacement, ParseCharacter(reader, "replacement"));
    ASSIGN_OR_RETURN(step.scheme, ParseScheme(reader));
    ASSIGN_OR_RETURN(step.split, reader.GetBool("split", true));
  } else {
    return Unsupported(reader.Path("type"), *reader.Find("type"));
  }
  pre_tokenizer->Add(std::move(step));
  return absl::OkStatus();
}

absl::Status ParsePostProcessor(const std::string& path, const element& value, std::vector<PostProcessorStep>* steps) {
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  PostProcessorStep step;
  if (type == "ByteLevel") {
    RETURN_IF_ERROR(reader.OnlyKeys({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    step.kind = PostProcessorStep::kTrim;
    ASSIGN_OR_RETURN(step.prefix_space, reader.GetBool("add_prefix_space", true));
    ASSIGN_OR_RETURN(const bool trims, reader.GetBool("trim_offsets", true));
    if (trims) steps->push_back(std::move(step));
    return absl::OkStatus();
  }
  if (type == "TemplateProcessing") {
    for (const PostProcessorStep& before : *steps) {
      if (before.kind == PostProcessorStep::kTemplate) return Unsupported(reader.Path("type"), *reader.Find("type"));
    }
    step.kind = PostProcessorStep::kTemplate;
    RETURN_IF_ERROR(ParseTemplate(reader, &step));
    steps->push_back(std::move(step));
    return absl::OkStatus();
  }
  if (type != "Sequence") return Unsupported(reader.Path("type"), *reader.Find("type"));
  return ParseSequence(reader, "processors", [&](const std::string& item_path, const element& item) {
    return ParsePostProcessor(item_path, item, steps);
  });
}

absl::Status ParseDecoder(const std::string& path, const element& value, Decoder* decoder) {
  ASSIGN_OR_RETURN(const Reader reader, Reader::Of(path, value));
  ASSIGN_OR_RETURN(const std::string_view type, reader.GetString("type"));
  decoder->SetPresent();
  if (type != "Sequence") {
    ASSIGN_OR_RETURN(DecoderStep step, ParseDecoderStep(type, reader));
    decoder->Add(std::move(step));
    return absl::OkStatus();
  }
  return ParseSequence(reader, "decoders", [&](const std::string& item_path, const element& item) {
    return ParseDecoder(item_path, item, decoder);
  });
}

}  // namespace editd::text
