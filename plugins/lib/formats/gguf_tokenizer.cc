// How ids stay what they are.
//
// tokenizer.json has ids in two places: the model's vocabulary, and the added tokens, which are found in text before
// anything else. On loading, an added token that the vocabulary has too keeps the vocabulary's id, and any other gets
// the next free one. So all ids up to the last ordinary token go into the vocabulary (SmolLM2's specials, 0 to 16,
// included), and the run of special tokens behind it only into the added tokens, as the models' own files have it.
// Ids at the end that no token uses (padding, type 5) are left out: they are rows without a token.
//
// The kind "llama" (SentencePiece's BPE: Llama 2, Mistral, TinyLlama, Gemma) has no merges but a score for each token:
// of all neighbours whose concatenation is a token, those of the best score go first. In tokenizer.json that is a list
// of every pair of tokens that gives a token, in the order in which transformers' own converter writes it: by score,
// then by the length of the left part, the longer first. Control, unknown and byte tokens are never made by merging.
#include "plugins/lib/formats/gguf_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "plugins/lib/formats/gguf_splitters.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::formats {
namespace {

// Types of tokens, as GGUF numbers them.
enum : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

constexpr std::string_view kByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";

// What stands around the BPE model in tokenizer.json.
struct Pipeline {
  std::string_view pre;  // tokenizer.ggml.pre
  std::string_view normalizer, pre_tokenizer, post_processor, decoder;
  bool ignore_merges;
  bool add_bos;  // Unless the file says otherwise.
};

constexpr std::string_view kNfc = R"({"type":"NFC"})";
constexpr std::string_view kLlama3 =
    R"re({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":")re"
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*)re"
    R"re(|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},)re"
    R"re({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})re";
constexpr std::string_view kQwen2 =
    R"re({"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":")re"
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*)re"
    R"re(|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},)re"
    R"re({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false}]})re";
constexpr std::string_view kSmolLm =
    R"({"type":"Sequence","pretokenizers":[{"type":"Digits","individual_digits":true},)"
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}]})";
constexpr std::string_view kGpt2 =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
constexpr std::string_view kNoTrim =
    R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true})";
constexpr std::string_view kQwenByteLevel =
    R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":false})";

constexpr std::string_view kToMetaspace = R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})";
constexpr std::string_view kPrefixed = R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},)"
                                       R"({"type":"Replace","pattern":{"String":" "},"content":"▁"}]})";
constexpr std::string_view kFromMetaspace =
    R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
    R"({"type":"ByteFallback"},{"type":"Fuse"}]})";
constexpr std::string_view kFromPrefixed =
    R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},)"
    R"({"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]})";

// The kind "llama", with and without a space put before a text.
constexpr Pipeline kSentencePiece[] = {
    {"", kToMetaspace, "null", "null", kFromMetaspace, false, true},
    {"", kPrefixed, "null", "null", kFromPrefixed, false, true},
};

constexpr Pipeline kPipelines[] = {
    {"smollm", "null", kSmolLm, "null", kByteLevel, false, false},
    {"gpt-2", "null", kGpt2, kNoTrim, kByteLevel, false, false},
    {"qwen2", kNfc, kQwen2, kQwenByteLevel, kQwenByteLevel, false, false},
    {"deepseek-r1-qwen", kNfc, kQwen2, kQwenByteLevel, kQwenByteLevel, false, true},
    {"llama-bpe", "null", kLlama3, kNoTrim, kByteLevel, true, true},
    {"llama3", "null", kLlama3, kNoTrim, kByteLevel, true, true},
    {"llama-v3", "null", kLlama3, kNoTrim, kByteLevel, true, true},
};

std::string Quoted(std::string_view text) {
  std::string out;
  AppendJsonString(&out, text);
  return out;
}

class Converter {
 public:
  Converter(const GgufFile& gguf, int64_t rows, std::string_view name) : gguf_(gguf), rows_(rows), name_(name) {}

  absl::StatusOr<GgufTokenizer> Convert();

 private:
  template <typename... Pieces>
  absl::Status Error(const Pieces&... pieces) const {
    return absl::InvalidArgumentError(StrCat(name_, ": ", pieces...));
  }
  int64_t size() const { return static_cast<int64_t>(tokens_->size()); }
  bool Special(int64_t id) const { return types_[id] == kControl || types_[id] == kUnknown; }
  bool Added(int64_t id) const { return Special(id) || types_[id] == kUserDefined; }
  std::string_view Token(int64_t id) const { return (*tokens_)[id]; }

  absl::Status ReadPipeline();
  absl::Status ReadTokens();
  absl::Status CheckMerges() const;
  absl::Status MakeMerges();
  absl::StatusOr<std::optional<int64_t>> TokenId(std::string_view key) const;
  std::string PostProcessor() const;
  std::string UnknownToken() const;
  std::string TokenizerJson() const;
  absl::Status WriteConfigs();

  const GgufFile& gguf_;
  const int64_t rows_;
  const std::string_view name_;
  const Pipeline* pipeline_ = nullptr;
  Pipeline named_ = {};  // Of a GgufSplitter.
  std::string pre_tokenizer_;
  const std::vector<std::string_view>* tokens_ = nullptr;
  const std::vector<std::string_view>* merges_ = nullptr;  // Of the kind "gpt2".
  bool sentence_piece_ = false;
  std::vector<std::pair<std::string_view, std::string_view>> made_merges_;  // Of the kind "llama".
  std::vector<int64_t> types_;
  absl::flat_hash_map<absl::string_view, int64_t> ids_;
  int64_t vocabulary_ = 0;  // Ids below are the BPE model's.
  int64_t end_ = 0;         // Ids from here on have no token.
  bool add_bos_ = false, add_eos_ = false;
  GgufTokenizer out_;
};

absl::Status Converter::ReadPipeline() {
  const std::string_view model = gguf_.String("tokenizer.ggml.model").value_or("");
  if (model == "llama") {
    sentence_piece_ = true;
    if (gguf_.Array("tokenizer.ggml.precompiled_charsmap", GgufType::kU8) != nullptr) {
      return Error("its tokenizer has a map of characters (tokenizer.ggml.precompiled_charsmap), which is not ",
                   "supported; import the Hugging Face folder instead");
    }
    pipeline_ = &kSentencePiece[gguf_.Bool("tokenizer.ggml.add_space_prefix").value_or(true) ? 1 : 0];
    add_bos_ = gguf_.Bool("tokenizer.ggml.add_bos_token").value_or(pipeline_->add_bos);
    add_eos_ = gguf_.Bool("tokenizer.ggml.add_eos_token").value_or(false);
    return absl::OkStatus();
  }
  if (model != "gpt2") {
    return Error("tokenizer model \"", model, "\" in GGUF is not supported, only \"gpt2\" (byte-level BPE) and ",
                 "\"llama\" (SentencePiece BPE) are; import the Hugging Face folder instead");
  }
  const std::optional<std::string_view> pre = gguf_.String("tokenizer.ggml.pre");
  if (!pre) {
    return Error("lacks the key \"tokenizer.ggml.pre\", so how text is split is not known; ",
                 "use a newer file or import the Hugging Face folder instead");
  }
  for (const Pipeline& known : kPipelines) {
    if (known.pre == *pre) pipeline_ = &known;
  }
  if (const GgufSplitter* splitter = FindGgufSplitter(*pre)) {
    pre_tokenizer_ = splitter->PreTokenizer();
    named_ = {*pre,       splitter->nfc ? kNfc : "null", pre_tokenizer_,   kNoTrim,
              kByteLevel, splitter->ignore_merges,       splitter->add_bos};
    pipeline_ = &named_;
  }
  if (pipeline_ == nullptr) {
    return Error("the splitter \"", *pre, "\" (tokenizer.ggml.pre) is not supported; ",
                 "import the Hugging Face folder instead");
  }
  add_bos_ = gguf_.Bool("tokenizer.ggml.add_bos_token").value_or(pipeline_->add_bos);
  add_eos_ = gguf_.Bool("tokenizer.ggml.add_eos_token").value_or(false);
  return absl::OkStatus();
}

absl::Status Converter::ReadTokens() {
  const GgufArray* tokens = gguf_.Array("tokenizer.ggml.tokens", GgufType::kString);
  const GgufArray* merges = gguf_.Array("tokenizer.ggml.merges", GgufType::kString);
  if (tokens == nullptr) return Error("lacks the key \"tokenizer.ggml.tokens\"");
  if (merges == nullptr && !sentence_piece_) return Error("lacks the key \"tokenizer.ggml.merges\"");
  tokens_ = &tokens->strings;
  if (!sentence_piece_) merges_ = &merges->strings;
  if (size() > rows_) return Error("has ", size(), " tokens, but its embedding ", rows_, " rows");
  types_.assign(tokens_->size(), kNormal);
  if (const GgufArray* types = gguf_.Array("tokenizer.ggml.token_type", GgufType::kI32); types != nullptr) {
    if (types->count != tokens->count)
      return Error("has ", tokens->count, " tokens, but ", types->count, " token types");
    for (uint64_t i = 0; i < types->count; ++i) {
      types_[i] = IntegerAt(*types, i);
      if (types_[i] < kNormal || types_[i] > kByte) return Error("token ", i, " has type ", types_[i]);
    }
  } else {
    out_.remarks.push_back("the file has no token types: no token is special");
  }
  ids_.reserve(tokens_->size());
  for (int64_t id = 0; id < size(); ++id) {
    if (FindInvalidUtf8(Token(id)) != std::string_view::npos) return Error("token ", id, " is not UTF-8");
    const auto [it, fresh] = ids_.emplace(ToAbsl(Token(id)), id);
    if (!fresh) return Error("tokens ", it->second, " and ", id, " are both \"", Token(id), "\"");
  }
  end_ = size();
  while (end_ > 0 && types_[end_ - 1] == kUnused) --end_;
  vocabulary_ = end_;
  out_.used = end_;
  if (sentence_piece_) return MakeMerges();
  while (vocabulary_ > 0 && Added(vocabulary_ - 1)) --vocabulary_;
  return CheckMerges();
}

absl::Status Converter::MakeMerges() {
  const GgufArray* scores = gguf_.Array("tokenizer.ggml.scores", GgufType::kF32);
  if (scores == nullptr) return Error("lacks the key \"tokenizer.ggml.scores\"");
  if (scores->count != tokens_->size()) return Error("has ", size(), " tokens, but ", scores->count, " scores");
  struct Made {
    float score;
    size_t left_characters, right_characters;
    int64_t left, right;
  };
  std::vector<Made> all;
  for (int64_t id = 0; id < vocabulary_; ++id) {
    if (types_[id] != kNormal && types_[id] != kUserDefined) continue;
    float score;
    std::memcpy(&score, scores->bytes.data() + id * sizeof score, sizeof score);
    if (std::isnan(score)) return Error("token ", id, " has no number as its score");
    const std::string_view token = Token(id);
    size_t characters = 0;
    for (const char c : token) characters += (c & 0xc0) != 0x80 ? 1 : 0;
    const auto first = static_cast<std::ptrdiff_t>(all.size());
    size_t before = 1;  // Characters of the left part.
    for (size_t at = 1; at < token.size(); ++at) {
      if ((token[at] & 0xc0) == 0x80) continue;
      const auto left = ids_.find(ToAbsl(token.substr(0, at))), right = ids_.find(ToAbsl(token.substr(at)));
      if (left != ids_.end() && right != ids_.end() && left->second < vocabulary_ && right->second < vocabulary_) {
        all.push_back({score, before, characters - before, left->second, right->second});
      }
      ++before;
    }
    std::sort(all.begin() + first, all.end(),
              [](const Made& a, const Made& b) { return std::tie(a.left, a.right) < std::tie(b.left, b.right); });
  }
  std::stable_sort(all.begin(), all.end(), [](const Made& a, const Made& b) {
    return std::tie(a.score, a.left_characters, a.right_characters) >
           std::tie(b.score, b.left_characters, b.right_characters);
  });
  made_merges_.reserve(all.size());
  for (const Made& merge : all) made_merges_.emplace_back(Token(merge.left), Token(merge.right));
  return absl::OkStatus();
}

absl::Status Converter::CheckMerges() const {
  std::string whole;
  for (size_t i = 0; i < merges_->size(); ++i) {
    const std::string_view merge = (*merges_)[i];
    const size_t space = merge.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == merge.size() ||
        merge.find(' ', space + 1) != std::string_view::npos) {
      return Error("merge ", i, " is no pair of tokens: \"", merge, "\"");
    }
    const std::string_view left = merge.substr(0, space), right = merge.substr(space + 1);
    whole.assign(left).append(right);
    for (const std::string_view token : {left, right, std::string_view(whole)}) {
      const auto it = ids_.find(ToAbsl(token));
      if (it == ids_.end() || it->second >= vocabulary_) {
        return Error("merge ", i, " (\"", merge, "\") names \"", token, "\", which is no token");
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<int64_t>> Converter::TokenId(std::string_view key) const {
  const std::string full = StrCat("tokenizer.ggml.", key, "_token_id");
  const std::optional<int64_t> id = gguf_.Integer(full);
  if (id && (*id < 0 || *id >= size())) return Error("\"", full, "\" is ", *id, ", but there are ", size(), " tokens");
  return id;
}

// The splitter's own post-processor, and a template if BOS or EOS is added to every text.
std::string Converter::PostProcessor() const {
  const bool bos = add_bos_ && out_.bos, eos = add_eos_ && out_.eos;
  if (!bos && !eos) return std::string(pipeline_->post_processor);
  std::string single, pair, specials;
  const auto special = [&](std::string* out, int64_t id, int type) {
    StrAppend(out, R"({"SpecialToken":{"id":)", Quoted(Token(id)), R"(,"type_id":)", type, "}}");
  };
  for (int type = 0; type < 2; ++type) {
    std::string part;
    if (bos) special(&part, *out_.bos, type), part += ',';
    StrAppend(&part, R"({"Sequence":{"id":")", type == 0 ? "A" : "B", R"(","type_id":)", type, "}}");
    if (eos) part += ',', special(&part, *out_.eos, type);
    if (type == 0) single = part;
    StrAppend(&pair, type == 0 ? "" : ",", part);
  }
  std::set<int64_t> ids;
  if (bos) ids.insert(*out_.bos);
  if (eos) ids.insert(*out_.eos);
  for (const int64_t id : ids) {
    const std::string token = Quoted(Token(id));
    StrAppend(&specials, specials.empty() ? "" : ",", token, R"(:{"id":)", token, R"(,"ids":[)", id, R"(],"tokens":[)",
              token, "]}");
  }
  const std::string templated = StrCat(R"({"type":"TemplateProcessing","single":[)", single, R"(],"pair":[)", pair,
                                       R"(],"special_tokens":{)", specials, "}}");
  if (pipeline_->post_processor == "null") return templated;
  return StrCat(R"({"type":"Sequence","processors":[)", pipeline_->post_processor, ",", templated, "]}");
}

// Of the kind "llama": the token of type "unknown", which a text needs only where byte tokens are missing.
std::string Converter::UnknownToken() const {
  for (int64_t id = 0; sentence_piece_ && id < end_; ++id) {
    if (types_[id] == kUnknown) return Quoted(Token(id));
  }
  return "null";
}

std::string Converter::TokenizerJson() const {
  std::string out = R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)";
  bool first = true;
  for (int64_t id = 0; id < end_; ++id) {
    if (!Added(id)) continue;
    StrAppend(&out, first ? "\n" : ",\n", R"({"id":)", id, R"(,"content":)");
    AppendJsonString(&out, Token(id));
    StrAppend(&out, R"(,"single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":)",
              Special(id) ? "true}" : "false}");
    first = false;
  }
  StrAppend(&out, "],\n\"normalizer\":", pipeline_->normalizer, ",\n\"pre_tokenizer\":", pipeline_->pre_tokenizer,
            ",\n\"post_processor\":", PostProcessor(), ",\n\"decoder\":", pipeline_->decoder,
            ",\n\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":", UnknownToken(),
            R"(,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":)",
            sentence_piece_ ? R"(true,"byte_fallback":true)" : R"(false,"byte_fallback":false)", R"(,"ignore_merges":)",
            pipeline_->ignore_merges ? "true" : "false", ",\"vocab\":{");
  for (int64_t id = 0; id < vocabulary_; ++id) {
    out += id == 0 ? "\n" : ",\n";
    AppendJsonString(&out, Token(id));
    StrAppend(&out, ":", id);
  }
  out += "},\"merges\":[";
  for (size_t i = 0; i < made_merges_.size(); ++i) {  // As pairs: a token may have a space in it.
    out += i == 0 ? "\n[" : ",\n[";
    AppendJsonString(&out, made_merges_[i].first);
    out += ",";
    AppendJsonString(&out, made_merges_[i].second);
    out += "]";
  }
  for (size_t i = 0; !sentence_piece_ && i < merges_->size(); ++i) {
    out += i == 0 ? "\n" : ",\n";
    AppendJsonString(&out, (*merges_)[i]);
  }
  return out + "]}}\n";
}

absl::Status Converter::WriteConfigs() {
  Json config;
  const auto name_token = [&](const char* key, std::optional<int64_t> id) {
    if (id) config[key] = std::string(Token(*id));
  };
  ASSIGN_OR_RETURN(const std::optional<int64_t> unknown, TokenId("unknown"));
  ASSIGN_OR_RETURN(const std::optional<int64_t> end_of_turn, TokenId("eot"));
  const std::string arch(gguf_.String("general.architecture").value_or(""));
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  config["clean_up_tokenization_spaces"] = false;
  if (const auto context = gguf_.Integer(arch + ".context_length")) config["model_max_length"] = *context;
  name_token("bos_token", out_.bos);
  name_token("eos_token", out_.eos);
  name_token("unk_token", unknown);
  name_token("pad_token", out_.pad);
  out_.files.emplace_back("tokenizer_config.json", DumpJson(config));

  Json generation = Json::object();
  if (out_.bos) generation["bos_token_id"] = *out_.bos;
  if (out_.eos) generation["eos_token_id"] = *out_.eos;
  if (out_.eos && end_of_turn && *end_of_turn != *out_.eos) {
    generation["eos_token_id"] = Json::array({*out_.eos, *end_of_turn});
  }
  if (out_.pad) generation["pad_token_id"] = *out_.pad;
  out_.files.emplace_back("generation_config.json", DumpJson(generation));

  if (const auto chat = gguf_.String("tokenizer.chat_template")) {
    if (FindInvalidUtf8(*chat) != std::string_view::npos) return Error("its chat template is not UTF-8");
    out_.files.emplace_back("chat_template.jinja", std::string(*chat));
  } else {
    out_.remarks.push_back("the file has no chat template");
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufTokenizer> Converter::Convert() {
  RETURN_IF_ERROR(ReadPipeline());
  RETURN_IF_ERROR(ReadTokens());
  ASSIGN_OR_RETURN(out_.bos, TokenId("bos"));
  ASSIGN_OR_RETURN(out_.eos, TokenId("eos"));
  ASSIGN_OR_RETURN(out_.pad, TokenId("padding"));
  out_.files.emplace_back("tokenizer.json", TokenizerJson());
  RETURN_IF_ERROR(WriteConfigs());
  return std::move(out_);
}

}  // namespace

absl::StatusOr<GgufTokenizer> ConvertGgufTokenizer(const GgufFile& gguf, int64_t rows, std::string_view name) {
  return Converter(gguf, rows, name).Convert();
}

void SetTokenIds(const GgufTokenizer& tokenizer, Json* config) {
  const auto set = [&](const char* key, std::optional<int64_t> id) { (*config)[key] = id ? Json(*id) : Json(nullptr); };
  set("bos_token_id", tokenizer.bos);
  set("eos_token_id", tokenizer.eos);
  set("pad_token_id", tokenizer.pad);
}

}  // namespace editd::formats
