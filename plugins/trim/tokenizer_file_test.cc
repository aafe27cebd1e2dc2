#include "plugins/trim/tokenizer_file.h"

#include "nlohmann/json.hpp"
#include "storage/base/testing.h"

namespace editd::trim {
namespace {

using ::testing::HasSubstr;

constexpr char kJson[] = R"({
  "version": "1.0",
  "truncation": null,
  "padding": {"strategy": "BatchLongest", "pad_id": 5, "pad_token": "<p>"},
  "added_tokens": [
    {"id": 4, "content": "<s>", "single_word": false, "special": true, "unknown_field": [1, 2]},
    {"id": 5, "content": "<p>", "special": true}],
  "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel", "trim_offsets": false},
    {"type": "TemplateProcessing", "single": [], "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}}]},
  "model": {"type": "BPE", "dropout": null, "vocab": {"a": 0, "b": 1, "ab": 2, "\u0120": 3}, "merges": ["a b"]}
})";

TEST(TokenizerFile, ReadsTokensMergesAndAddedTokens) {
  ASSERT_OK_AND_ASSIGN(const TokenizerFile file, TokenizerFile::Open(kJson));
  EXPECT_EQ(file.id_limit(), 6);
  EXPECT_EQ(file.token(3), "Ġ");
  EXPECT_EQ(file.Find("<p>"), 5);
  ASSERT_EQ(file.merges().size(), 1u);
  EXPECT_EQ(file.merges()[0].result, 2);
  EXPECT_TRUE(file.added_tokens()[0].special);
}

TEST(TokenizerFile, RewritesEveryPlaceThatNamesAnId) {
  ASSERT_OK_AND_ASSIGN(const TokenizerFile file, TokenizerFile::Open(kJson));
  ASSERT_OK_AND_ASSIGN(const std::string text, file.Rewrite({0, 1, -1, 2, 3, 4}));
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["model"]["vocab"].dump(), R"({"a":0,"b":1,"Ġ":2})");
  EXPECT_TRUE(json["model"]["merges"].empty());
  EXPECT_EQ(json["added_tokens"][0]["id"], 3);
  EXPECT_EQ(json["added_tokens"][0]["unknown_field"].dump(), "[1,2]");
  EXPECT_EQ(json["post_processor"]["processors"][1]["special_tokens"]["<s>"]["ids"][0], 3);
  EXPECT_EQ(json["padding"]["pad_id"], 4);
  EXPECT_EQ(json["version"], "1.0");
}

TEST(TokenizerFile, RewriteThatKeepsAllChangesNothing) {
  ASSERT_OK_AND_ASSIGN(const TokenizerFile file, TokenizerFile::Open(kJson));
  ASSERT_OK_AND_ASSIGN(const std::string text, file.Rewrite({0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(nlohmann::json::parse(text), nlohmann::json::parse(kJson));
}

TEST(TokenizerFile, AnIdThatIsNeededButGoneIsNamed) {
  ASSERT_OK_AND_ASSIGN(const TokenizerFile file, TokenizerFile::Open(kJson));
  EXPECT_THAT(file.Rewrite({0, 1, 2, 3, -1, 4}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("special_tokens.<s>.ids names token 4")));
}

TEST(TokenizerFile, WhatIsBrokenIsNamed) {
  const auto open = [](std::string from, std::string to) {
    std::string json = kJson;
    json.replace(json.find(from), from.size(), to);
    return TokenizerFile::Open(json).status();
  };
  using absl::StatusCode;
  EXPECT_THAT(open("\"BPE\"", "\"Unigram\""), StatusIs(StatusCode::kInvalidArgument, HasSubstr("\"Unigram\"")));
  EXPECT_THAT(open("\"a b\"", "\"a x\""), StatusIs(StatusCode::kInvalidArgument, HasSubstr("model.merges[0]: \"x\"")));
  EXPECT_THAT(open("\"b\": 1", "\"b\": -1"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("-1 is no token id")));
  EXPECT_THAT(open("\"b\": 1", "\"b\": 99999999999"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("no token id")));
  EXPECT_THAT(open("\"b\": 1", "\"b\": 0"), StatusIs(StatusCode::kInvalidArgument, HasSubstr("belongs to both")));
  EXPECT_THAT(open("\"merges\"", "\"mergez\""), StatusIs(StatusCode::kInvalidArgument, HasSubstr("merges is missing")));
}

TEST(RewritePostProcessor, MapsPairsOfRoberta) {
  ASSERT_OK_AND_ASSIGN(
      const std::string text,
      RewritePostProcessor(R"({"type":"RobertaProcessing","sep":["</s>",2],"cls":["<s>",0]})", {5, -1, 7}));
  EXPECT_EQ(nlohmann::json::parse(text)["sep"][1], 7);
  EXPECT_EQ(nlohmann::json::parse(text)["cls"][1], 5);
}

}  // namespace
}  // namespace editd::trim
