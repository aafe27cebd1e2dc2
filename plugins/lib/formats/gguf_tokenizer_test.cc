#include "plugins/lib/formats/gguf_tokenizer.h"

#include <time.h>

#include <cmath>

#include "plugins/lib/formats/checkpoint.h"
#include "plugins/lib/formats/gguf_testing.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::HasSubstr;

GgufWriter Tokenizer(const std::string& pre, const std::vector<std::string>& tokens, const std::vector<int32_t>& types,
                     const std::vector<std::string>& merges) {
  GgufWriter writer;
  writer.String("general.architecture", "llama").U32("llama.context_length", 64);
  writer.String("tokenizer.ggml.model", "gpt2").Strings("tokenizer.ggml.tokens", tokens);
  if (!pre.empty()) writer.String("tokenizer.ggml.pre", pre);
  if (!types.empty()) writer.Integers("tokenizer.ggml.token_type", types);
  return writer.Strings("tokenizer.ggml.merges", merges);
}

absl::StatusOr<GgufTokenizer> Convert(const GgufWriter& writer, int64_t rows = 100) {
  const std::string file = writer.Build();
  ASSIGN_OR_RETURN(const GgufFile gguf, ReadGguf(file, "m.gguf"));
  return ConvertGgufTokenizer(gguf, rows, "m.gguf");
}

std::string File(const GgufTokenizer& tokenizer, std::string_view name) {
  for (const auto& [file, content] : tokenizer.files) {
    if (file == name) return content;
  }
  return "";
}

TEST(GgufTokenizer, SpecialsBeforeTheVocabularyStayInIt) {
  GgufWriter writer = Tokenizer("smollm", {"<|end|>", "a", "b", "\"\n", "ab"}, {3, 1, 1, 1, 1}, {"a b"});
  writer.U32("tokenizer.ggml.eos_token_id", 0).String("tokenizer.chat_template", "{{ messages }}");
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer tokenizer, Convert(writer));
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(File(tokenizer, "tokenizer.json"), "t"));
  EXPECT_EQ(json["model"]["vocab"]["<|end|>"], 0);
  EXPECT_EQ(json["model"]["vocab"]["\"\n"], 3);
  EXPECT_EQ(json["model"]["vocab"].size(), 5u);
  EXPECT_EQ(json["model"]["merges"], Json::array({"a b"}));
  EXPECT_EQ(json["added_tokens"].size(), 1u);
  EXPECT_EQ(json["added_tokens"][0]["special"], true);
  EXPECT_EQ(json["pre_tokenizer"]["pretokenizers"][0]["type"], "Digits");
  EXPECT_EQ(tokenizer.used, 5);
  EXPECT_EQ(tokenizer.eos, 0);
  EXPECT_EQ(tokenizer.bos, std::nullopt);
  EXPECT_EQ(File(tokenizer, "chat_template.jinja"), "{{ messages }}");
  ASSERT_OK_AND_ASSIGN(const Json config, ParseJson(File(tokenizer, "tokenizer_config.json"), "t"));
  EXPECT_EQ(config["eos_token"], "<|end|>");
  EXPECT_FALSE(config.contains("bos_token"));
  EXPECT_THAT(CountTokenIds(File(tokenizer, "tokenizer.json"), "t"),
              ::testing::Property(&absl::StatusOr<int64_t>::value, 5));
}

TEST(GgufTokenizer, SpecialsBehindTheVocabularyAreAddedAndPaddingIsLeftOut) {
  const GgufWriter writer =
      Tokenizer("qwen2", {"a", "b", "ab", "<|end|>", "<tool>", "[PAD5]", "[PAD6]"}, {1, 1, 1, 3, 4, 5, 5}, {"a b"});
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer tokenizer, Convert(writer));
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(File(tokenizer, "tokenizer.json"), "t"));
  EXPECT_EQ(json["model"]["vocab"].size(), 3u);
  EXPECT_EQ(json["added_tokens"].size(), 2u);
  EXPECT_EQ(json["added_tokens"][1]["id"], 4);
  EXPECT_EQ(json["added_tokens"][1]["special"], false);
  EXPECT_EQ(json["normalizer"]["type"], "NFC");
  EXPECT_EQ(tokenizer.used, 5);
}

TEST(GgufTokenizer, Llama3AddsItsBeginning) {
  GgufWriter writer = Tokenizer("llama-bpe", {"a", "b", "ab", "<|bos|>", "<|eot|>"}, {1, 1, 1, 3, 3}, {"a b"});
  writer.U32("tokenizer.ggml.bos_token_id", 3).U32("tokenizer.ggml.eos_token_id", 4);
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer tokenizer, Convert(writer));
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(File(tokenizer, "tokenizer.json"), "t"));
  EXPECT_EQ(json["model"]["ignore_merges"], true);
  const Json& post = json["post_processor"]["processors"][1];
  EXPECT_EQ(post["type"], "TemplateProcessing");
  EXPECT_EQ(post["special_tokens"]["<|bos|>"]["ids"][0], 3);
  EXPECT_EQ(post["single"].size(), 2u);
  EXPECT_EQ(post["pair"].size(), 4u);

  writer.Bool("tokenizer.ggml.add_bos_token", false);
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer without, Convert(writer));
  EXPECT_THAT(File(without, "tokenizer.json"), Not(HasSubstr("TemplateProcessing")));
}

GgufWriter SentencePiece(const std::vector<std::string>& tokens, const std::vector<int32_t>& types,
                         const std::vector<float>& scores) {
  GgufWriter writer;
  writer.String("general.architecture", "llama").String("tokenizer.ggml.model", "llama");
  writer.Strings("tokenizer.ggml.tokens", tokens).Integers("tokenizer.ggml.token_type", types);
  return writer.Numbers("tokenizer.ggml.scores", scores);
}

TEST(GgufTokenizer, ScoresBecomeMergesOfEveryPair) {
  GgufWriter writer = SentencePiece({"<unk>", "<s>", "<0x41>", "a", "b", "c", "bc", "ab", "abc", "<", "s>"},
                                    {2, 3, 6, 1, 1, 1, 1, 1, 4, 1, 1}, {0, 0, 0, -9, -9, -9, -2, -1, -2, -9, -9});
  writer.U32("tokenizer.ggml.bos_token_id", 1);
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer tokenizer, Convert(writer));
  ASSERT_OK_AND_ASSIGN(const Json json, ParseJson(File(tokenizer, "tokenizer.json"), "t"));
  EXPECT_EQ(json["model"]["merges"], Json::parse(R"([["a","b"],["ab","c"],["a","bc"],["b","c"]])"));
  EXPECT_EQ(json["model"]["vocab"].size(), 11u);
  EXPECT_EQ(json["model"]["unk_token"], "<unk>");
  EXPECT_EQ(json["model"]["byte_fallback"], true);
  EXPECT_EQ(json["added_tokens"].size(), 3u);
  EXPECT_EQ(json["normalizer"]["normalizers"][0]["type"], "Prepend");
  EXPECT_EQ(json["decoder"]["decoders"].back()["type"], "Strip");
  EXPECT_EQ(json["post_processor"]["special_tokens"]["<s>"]["ids"][0], 1);  // The kind adds it unless told not to.

  writer.Bool("tokenizer.ggml.add_space_prefix", false).Bool("tokenizer.ggml.add_bos_token", false);
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer without, Convert(writer));
  ASSERT_OK_AND_ASSIGN(const Json plain, ParseJson(File(without, "tokenizer.json"), "t"));
  EXPECT_EQ(plain["normalizer"]["type"], "Replace");
  EXPECT_EQ(plain["decoder"]["decoders"].back()["type"], "Fuse");
  EXPECT_TRUE(plain["post_processor"].is_null());
}

// All pairs of a run's pieces are merges of this kind, and a text is one piece.
TEST(GgufTokenizer, ScoresEncodeAMegabyteOfOneThing) {
  std::vector<std::string> tokens = {"<unk>", "<s>"};
  std::vector<int32_t> types = {2, 3};
  std::vector<float> scores = {0, 0};
  constexpr std::string_view kHex = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back({'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'});
    types.push_back(6);
    scores.push_back(0);
  }
  std::string run, spaces;
  for (int length = 1; length <= 16; ++length) {
    run += 'a';
    spaces += "▁";
    for (const std::string& token : {run, spaces}) {
      tokens.push_back(token);
      types.push_back(1);
      scores.push_back(static_cast<float>(-length));
    }
  }
  ASSERT_OK_AND_ASSIGN(const GgufTokenizer made, Convert(SentencePiece(tokens, types, scores), 1000));
  ASSERT_OK_AND_ASSIGN(const auto tokenizer, text::Tokenizer::FromJson(File(made, "tokenizer.json")));
  for (const std::string_view unit : {"a", " ", "\n", "1", "\u0301", "👍", "a\u0301", "中", "<s>"}) {
    const auto took = [&](size_t size) {
      std::string text;
      while (text.size() < size) text += unit;
      timespec begin, end;
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
      const auto ids = tokenizer->Encode(text, false);
      ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
      EXPECT_EQ(tokenizer->Decode(ids, false), text);
      return static_cast<double>(end.tv_sec - begin.tv_sec) + static_cast<double>(end.tv_nsec - begin.tv_nsec) * 1e-9;
    };
    const double quarter = took(250'000);  // Sixteen times that were the square.
    EXPECT_LT(took(1'000'000), 10 * quarter + 0.05) << unit;
  }
}

TEST(GgufTokenizer, RefusesByNameWhatItDoesNotUnderstand) {
  const auto error = [](const GgufWriter& writer, int64_t rows = 100) {
    const auto tokenizer = Convert(writer, rows);
    EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(tokenizer.status().message());
  };
  EXPECT_THAT(error(Tokenizer("superbpe", {"a"}, {}, {})),
              HasSubstr("\"superbpe\" (tokenizer.ggml.pre) is not supported"));
  EXPECT_THAT(error(Tokenizer("", {"a"}, {}, {})), HasSubstr("lacks the key \"tokenizer.ggml.pre\""));
  EXPECT_THAT(error(GgufWriter().String("tokenizer.ggml.model", "t5")), HasSubstr("model \"t5\" in GGUF"));
  EXPECT_THAT(error(SentencePiece({"a"}, {1}, {0, 1})), HasSubstr("1 tokens, but 2 scores"));
  EXPECT_THAT(error(SentencePiece({"a"}, {1}, {NAN})), HasSubstr("token 0 has no number as its score"));
  EXPECT_THAT(error(GgufWriter().String("tokenizer.ggml.model", "llama").Strings("tokenizer.ggml.tokens", {"a"})),
              HasSubstr("lacks the key \"tokenizer.ggml.scores\""));
  EXPECT_THAT(error(SentencePiece({"a"}, {1}, {0})
                        .Value("tokenizer.ggml.precompiled_charsmap", GgufType::kArray,
                               GgufWriter::Raw<uint32_t>(0) + GgufWriter::Raw<uint64_t>(0))),
              HasSubstr("map of characters"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a", "b"}, {}, {}), 1), HasSubstr("has 2 tokens, but its embedding 1 rows"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a", "a"}, {}, {})), HasSubstr("tokens 0 and 1 are both \"a\""));
  EXPECT_THAT(error(Tokenizer("smollm", {"a", "\xff"}, {}, {})), HasSubstr("token 1 is not UTF-8"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a"}, {1, 1}, {})), HasSubstr("1 tokens, but 2 token types"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a"}, {9}, {})), HasSubstr("token 0 has type 9"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a", "b"}, {}, {"a b"})), HasSubstr("names \"ab\", which is no token"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a"}, {}, {"a"})), HasSubstr("merge 0 is no pair"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a"}, {}, {"a b c"})), HasSubstr("merge 0 is no pair"));
  EXPECT_THAT(error(Tokenizer("smollm", {"a"}, {}, {}).U32("tokenizer.ggml.bos_token_id", 7)),
              HasSubstr("bos_token_id\" is 7, but there are 1 tokens"));
}

}  // namespace
}  // namespace editd::formats
