#include "plugins/trim/remap_files.h"

#include "nlohmann/json.hpp"
#include "storage/base/testing.h"

namespace editd::trim {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const IdMap kMap = {0, -1, 1, -1, 2, 3};

TEST(RemapFiles, ConfigRolesAndSizesAtAnyDepth) {
  ASSERT_OK_AND_ASSIGN(const std::string text, RemapConfig("config.json", R"({"vocab_size": 8, "eos_token_id": [4, 5],
      "bos_token_id": 0, "pad_token_id": -1, "hidden_size": 8,
      "text_config": {"vocab_size": 8, "eos_token_id": 2, "decoder_start_token_id": null}})",
                                                           kMap, 8, 64));
  const json config = json::parse(text);
  EXPECT_EQ(config["vocab_size"], 64);
  EXPECT_EQ(config["hidden_size"], 8);
  EXPECT_EQ(config["eos_token_id"].dump(), "[2,3]");
  EXPECT_EQ(config["pad_token_id"], -1);
  EXPECT_EQ(config["text_config"]["eos_token_id"], 1);
  EXPECT_EQ(config["text_config"]["vocab_size"], 64);
  EXPECT_TRUE(config["text_config"]["decoder_start_token_id"].is_null());
}

TEST(RemapFiles, GoneTokensLeaveSuppressedListsButNotRoles) {
  ASSERT_OK_AND_ASSIGN(
      const std::string text,
      RemapConfig(
          "generation_config.json",
          R"({"suppress_tokens": [1, 2], "bad_words_ids": [[4], [1, 4], [2, 4]], "forced_decoder_ids": [[1, 4], [2, 3]]})",
          kMap, 8, 64));
  const json config = json::parse(text);
  EXPECT_EQ(config["suppress_tokens"].dump(), "[1]");
  EXPECT_EQ(config["bad_words_ids"].dump(), "[[2],[1,2]]");
  EXPECT_EQ(config["forced_decoder_ids"].dump(), "[[1,2]]");
  EXPECT_THAT(RemapConfig("config.json", R"({"eos_token_id": 1})", kMap, 8, 64),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("eos_token_id is 1")));
}

TEST(RemapFiles, ConfigNamesTheIdsThatHaveARole) {
  ASSERT_OK_AND_ASSIGN(
      const auto ids,
      ConfigTokenIds("config.json",
                     R"({"eos_token_id": [4, 9], "bos_token_id": -1, "a": {"pad_token_id": 2}, "vocab_size": 3})", 6));
  EXPECT_THAT(ids, ElementsAre(4, 2));
  EXPECT_THAT(ConfigTokenIds("config.json", "[", 6),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("config.json")));
}

TEST(RemapFiles, AddedTokensDecoderKeysAreIds) {
  ASSERT_OK_AND_ASSIGN(
      const std::string text,
      RemapTokenizerConfig(
          R"({"z": 1, "added_tokens_decoder": {"1": {"content": "x"}, "5": {"content": "y"}}, "eos_token": "y"})",
          kMap));
  EXPECT_EQ(json::parse(text)["added_tokens_decoder"].dump(), R"({"3":{"content":"y"}})");
  EXPECT_EQ(json::parse(text)["eos_token"], "y");
}

TEST(RemapFiles, TokenListsAndMergesLoseWhatGoes) {
  ASSERT_OK_AND_ASSIGN(const std::string ids, RemapTokenIds("vocab.json", "{\"a\":0,\"b\":1,\"c\":2}\n", kMap));
  EXPECT_EQ(json::parse(ids).dump(), R"({"a":0,"c":1})");
  const std::string tokenizer =
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3,"ac":4,"ca":5},"merges":["a b","a c","c a"]}})";
  ASSERT_OK_AND_ASSIGN(const TokenizerFile file, TokenizerFile::Open(tokenizer));
  ASSERT_OK_AND_ASSIGN(const std::string merges, RemapMerges("#version: 0.2\na b\na c\nc a\n", file, kMap));
  EXPECT_EQ(merges, "#version: 0.2\na c\nc a\n");
  EXPECT_THAT(RemapMerges("a z\n", file, kMap), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 1")));
}

}  // namespace
}  // namespace editd::trim
