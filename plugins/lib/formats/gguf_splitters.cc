// Not here, and so refused by name: what llama.cpp does by a procedure of its own or by look-ahead without a bound
// (afmoe, tiny_aya, cohere2moe, superbpe, granite-embed-multi-97m), what is no byte-level BPE (gemma4, sarvam-moe,
// whitespace), what adds a separator (roberta-bpe, jina-v1-en, jina-v2-code), chameleon, jais-2 and spark2_5, and
// "default", which is a guess.
#include "plugins/lib/formats/gguf_splitters.h"

#include "plugins/lib/formats/json.h"

namespace editd::formats {
namespace {

// What many patterns are made of.
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORD R"([^\r\n\p{L}\p{N}]?\p{L}+)"
#define OTHERS R"( ?[^\s\p{L}\p{N}]+[\r\n]*)"
#define OTHERS_AND_SLASHES R"( ?[^\s\p{L}\p{N}]+[\r\n/]*)"
#define SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
// Words in capitals, and words that begin with one, are each one piece.
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define BEFORE R"([^\r\n\p{L}\p{N}]?)"
#define CASED(end) BEFORE UPPER "*" LOWER "+" end "|" BEFORE UPPER "+" LOWER "*" end
#define UPPER_NOT_HAN R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
#define LOWER_NOT_HAN R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 = CONTRACTIONS "|" WORD R"(|\p{N}{1,3}|)" OTHERS "|" SPACES;
constexpr std::string_view kQwen2 = CONTRACTIONS "|" WORD R"(|\p{N}|)" OTHERS "|" SPACES;
constexpr std::string_view kGpt4o = CASED(CONTRACTIONS "?") R"(|\p{N}{1,3}|)" OTHERS_AND_SLASHES "|" SPACES;
constexpr std::string_view kHanAndKana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr std::string_view kEastAsian = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr std::string_view kDeepSeek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)" SPACES;
// Letters with case, of some old release.
constexpr std::string_view kDeepSeekLetters =
    R"(\s?[)"
    R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c})"
    R"(\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5})"
    R"(\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b})"
    R"(\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4})"
    R"(\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115})"
    R"(\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139})"
    R"(\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4})"
    R"(\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f})"
    R"(\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17})"
    R"(\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943})"
    "]+";
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";

struct Row {
  std::vector<std::string_view> names;
  GgufSplitter splitter;
};

const std::vector<Row>& Rows() {
  static const auto* const rows = new std::vector<Row>{
      {{"phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert",
        "exaone4", "mpt", "olmo", "jais", "trillion", "granite-docling"},
       {{kGpt2}}},
      {{"starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}, {{R"(\p{N})", kGpt2}}},
      {{"falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"}, {{kLlama3}, false, true, true}},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {{kLlama3}}},
      {{"glm4", "glm5"}, {{kLlama3}, false, true}},
      {{"kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"}, {{kQwen2}}},
      {{"qwen35"},
       {{CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES}, true}},
      {{"ufakzeka"}, {{WORD R"(|\p{N}|)" OTHERS "|" SPACES}}},
      {{"seed-coder"}, {{CONTRACTIONS "|" WORD R"(|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES}}},
      {{"laguna"}, {{R"([^\n]+|[\n]+)", kQwen2}}},
      {{"minicpm5"}, {{R"(\p{N}{1,3})", CONTRACTIONS "|" WORD R"(|\p{N}+|)" OTHERS "|" SPACES}, false, true}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {{R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}}},
      {{"exaone-moe"},
       {{CONTRACTIONS
         R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}}},
      {{"tekken"}, {{CASED("") R"(|\p{N}|)" OTHERS_AND_SLASHES "|" SPACES}, false, true, true}},
      {{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, {{kGpt4o}}},
      {{"youtu"},
       {{R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+|)"
         R"([\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c}\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]+|)"
         R"([\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)",
         CASED(CONTRACTIONS "?") R"(|\p{N}|)" OTHERS_AND_SLASHES "|" SPACES},
        false,
        true}},
      {{"kimi-k2"},
       {{R"([\p{Han}]+|)" BEFORE UPPER_NOT_HAN "*" LOWER_NOT_HAN "+" CONTRACTIONS "?|" BEFORE UPPER_NOT_HAN
         "+" LOWER_NOT_HAN "*" CONTRACTIONS R"(?|\p{N}{1,3}|)" OTHERS "|" SPACES}}},
      {{"deepseek-llm"},
       {{R"([\r\n])", kDeepSeekLetters,
         R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)", R"(\s+$)", kEastAsian,
         R"(\p{N}+)"}}},
      {{"deepseek-coder"}, {{R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kEastAsian, R"(\p{N})"}}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, {{R"(\p{N}{1,3})", kHanAndKana, kDeepSeek3}}},
      {{"falcon"}, {{R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}}},
      {{"poro-chat", "bloom", "gpt3-finnish"}, {{kBloom}}},
      {{"viking"}, {{kBloom, R"(\p{N})"}}},
  };
  return *rows;
}

}  // namespace

std::string GgufSplitter::PreTokenizer() const {
  std::string json = R"({"type":"Sequence","pretokenizers":[)";
  for (const std::string_view pattern : patterns) {
    json += R"({"type":"Split","pattern":{"Regex":)";
    AppendJsonString(&json, pattern);
    json += R"(},"behavior":"Isolated","invert":false},)";
  }
  return json + R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})";
}

const GgufSplitter* FindGgufSplitter(std::string_view name) {
  for (const Row& row : Rows()) {
    for (const std::string_view known : row.names) {
      if (known == name) return &row.splitter;
    }
  }
  return nullptr;
}

std::vector<std::string_view> GgufSplitterNames() {
  std::vector<std::string_view> names;
  for (const Row& row : Rows()) names.insert(names.end(), row.names.begin(), row.names.end());
  return names;
}

}  // namespace editd::formats
