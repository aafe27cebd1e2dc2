#include "plugins/lib/text/tokenizer.h"

#include "plugins/lib/text/byte_alphabet.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A tokenizer whose first 256 ids are the bytes, in order of value, followed by "he", "hel", "lo", " w".
std::string SmallJson(
    std::string_view pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true})",
    std::string_view added = "[]", std::string_view more = "") {
  std::string vocab;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    std::string text = ToAlphabet(std::string_view(&c, 1));
    if (text == "\"" || text == "\\") text = "\\" + text;
    StrAppend(&vocab, "\"", text, "\":", byte, ",");
  }
  return StrCat(R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":)", added,
                R"(,"normalizer":null,"pre_tokenizer":)", pre_tokenizer,
                R"(,"post_processor":null,"decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true},)",
                more, R"("model":{"type":"BPE","dropout":null,"unk_token":null,"vocab":{)", vocab,
                R"("he":256,"hel":257,"lo":258,"Ġw":259},"merges":["h e",)", R"("he l","l o","Ġ w"]}})");
}

TEST(Tokenizer, MergesByRank) {
  ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(SmallJson()));
  EXPECT_THAT(tokenizer->Encode("hello w", false), ElementsAre(257, 258, 259));
  EXPECT_EQ(tokenizer->Decode({257, 258, 259}, false), "hello w");
  EXPECT_EQ(tokenizer->TokenBytes(259), " w");
  EXPECT_EQ(tokenizer->TokenText(259), "Ġw");
  EXPECT_EQ(tokenizer->size(), 260u);
}

TEST(Tokenizer, DecodesBrokenCharactersAsReplacements) {
  ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(SmallJson()));
  EXPECT_EQ(tokenizer->Decode({0xe1, 0xba, 'x', 0xff}, false), "\xef\xbf\xbdx\xef\xbf\xbd");
}

absl::Status Refused(std::string json, std::string_view from, std::string_view to) {
  const size_t at = json.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return Tokenizer::FromJson(json.replace(at, from.size(), to)).status();
}

TEST(Tokenizer, RefusesByNameAndPlace) {
  struct Case {
    std::string_view from, to, message;
  };
  const Case cases[] = {
      {R"("type":"BPE")", R"("type":"Unigram")", "model.type: \"Unigram\" is not supported"},
      {R"("type":"BPE")", R"("type":"WordPiece")", "model.type: \"WordPiece\" is not supported"},
      {R"("dropout":null)", R"("dropout":0.1)", "model.dropout: 0.1 is not supported"},
      {R"("unk_token":null)", R"("continuing_subword_prefix":"##")",
       "model.continuing_subword_prefix: \"##\" is not supported"},
      {R"("unk_token":null)", R"("end_of_word_suffix":"</w>")", "model.end_of_word_suffix: \"</w>\" is not supported"},
      {R"("unk_token":null)", R"("novelty":1)", "model.novelty is not supported"},
      {R"("padding":null)", R"("padding":{"strategy":"BatchLongest"})",
       "padding: {\"strategy\":\"BatchLongest\"} is not supported"},
      {R"("normalizer":null)", R"("normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},{"type":"Nmt"}]})",
       "normalizer.normalizers[1].type: \"Nmt\" is not supported"},
      {R"("pre_tokenizer":{"type":"ByteLevel")", R"("pre_tokenizer":{"type":"UnicodeScripts")",
       "pre_tokenizer.type: \"UnicodeScripts\" is not supported"},
      {R"("decoder":{"type":"ByteLevel")", R"("decoder":{"type":"WordPiece")",
       "decoder.type: \"WordPiece\" is not supported"},
      {R"("post_processor":null)", R"("post_processor":{"type":"RobertaProcessing"})",
       "post_processor.type: \"RobertaProcessing\" is not supported"},
      {R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true})",
       R"("pre_tokenizer":{"type":"Metaspace","replacement":"_","prepend_scheme":"first","add_prefix_space":false})",
       "pre_tokenizer.prepend_scheme: \"first\" is not supported"},
      {R"("version":"1.0")", R"("version":"2.0")", "version: \"2.0\" is not supported"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Refused(SmallJson(), c.from, c.to),
                StatusIs(absl::StatusCode::kUnimplemented, StrCat("tokenizer.json: ", c.message)));
  }
}

TEST(Tokenizer, RefusesPatternsThatItCannotFollow) {
  const auto with = [](std::string_view split) {
    return Tokenizer::FromJson(SmallJson(
        StrCat(R"({"type":"Sequence","pretokenizers":[{"type":"Split",)", split,
               R"(},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]})")));
  };
  EXPECT_OK(with(R"("pattern":{"Regex":"\\w+"},"behavior":"Isolated","invert":false)"));
  EXPECT_OK(with(R"("pattern":{"String":" "},"behavior":"MergedWithNext","invert":true)"));
  EXPECT_THAT(with(R"("pattern":{"Regex":"\\w*"},"behavior":"Isolated","invert":false)"),
              StatusIs(absl::StatusCode::kUnimplemented,
                       R"(tokenizer.json: pre_tokenizer.pretokenizers[0].pattern.Regex: "\\w*": )"
                       "a pattern that may match nothing is not supported"));
  EXPECT_THAT(with(R"("pattern":{"String":""},"behavior":"Isolated","invert":false)"),
              StatusIs(absl::StatusCode::kUnimplemented,
                       R"(tokenizer.json: pre_tokenizer.pretokenizers[0].pattern.String: "" is not supported)"));
  EXPECT_THAT(with(R"("pattern":{"String":" "},"behavior":"Halved","invert":false)"),
              StatusIs(absl::StatusCode::kUnimplemented,
                       "tokenizer.json: pre_tokenizer.pretokenizers[0].behavior: \"Halved\" is not supported"));
}

TEST(Tokenizer, RefusesBrokenFilesWithThePlace) {
  struct Case {
    std::string_view from, to, message;
  };
  const Case cases[] = {
      {R"("he":256)", R"("he":"256")", "model.vocab.he: expected an id, not \"256\""},
      {R"("he":256)", R"("he":-1)", "model.vocab.he: expected an id, not -1"},
      {R"("he":256)", R"("he":4000000000)", "model.vocab.he: id 4000000000 is above 2097151"},
      {R"("he":256)", R"("he":257)", "model.vocab.hel: another token has id 257 too"},
      {R"("he":256)", R"("he":256,"he":300)", "model.vocab.he: listed twice"},
      {R"("h e")", R"("h ee")", "model.merges[0]: token \"ee\" is not in the vocabulary"},
      {R"("h e")", R"("h h")", "model.merges[0]: token \"hh\" is not in the vocabulary"},
      {R"("h e")", R"("h e l")", "model.merges[0]: expected two tokens with a space between them, not \"h e l\""},
      {R"("h e")", R"(["h","e"])", "model.merges[1]: lists and strings are mixed"},
      {R"("h e")", R"(["h"])", "model.merges[0]: expected a pair of tokens, not [\"h\"]"},
      {R"("added_tokens":[])", R"("added_tokens":[{"id":260,"content":"x"}])", "added_tokens[0].single_word: missing"},
      {R"("add_prefix_space":false)", R"("add_prefix_space":0)",
       "pre_tokenizer.add_prefix_space: expected true or false, not 0"},
  };
  for (const Case& c : cases) {
    EXPECT_THAT(Refused(SmallJson(), c.from, c.to),
                StatusIs(absl::StatusCode::kInvalidArgument, StrCat("tokenizer.json: ", c.message)));
  }
  EXPECT_THAT(Tokenizer::FromJson("{\"model\":"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not JSON")));
  EXPECT_THAT(Tokenizer::FromJson("[]"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a JSON object")));
}

std::string Added(int id, std::string_view content, std::string_view flags = R"("special":false)") {
  std::string all = StrCat(R"({"id":)", id, R"(,"content":")", content, "\"");
  for (std::string_view flag : {"single_word", "lstrip", "rstrip", "normalized"})
    StrAppend(&all, ",\"", flag, "\":false");
  return StrCat(all, ",", flags, "}");
}

TEST(Tokenizer, RefusesAddedTokensWhoseIdsWouldChange) {
  const std::string byte_level = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true})";
  ASSERT_OK(Tokenizer::FromJson(SmallJson(byte_level, StrCat("[", Added(260, "<a>"), ",", Added(256, "he"), "]"))));
  EXPECT_THAT(
      Tokenizer::FromJson(SmallJson(byte_level, StrCat("[", Added(300, "<a>"), "]"))),
      StatusIs(
          absl::StatusCode::kUnimplemented,
          "tokenizer.json: added_tokens[0].id: 300 is not supported: \"<a>\" is given the id 260 when it is loaded"));
  EXPECT_THAT(Tokenizer::FromJson(SmallJson(byte_level, StrCat("[", Added(260, "<a>"), ",", Added(260, "<a>"), "]"))),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("added_tokens[1]")));
}

TEST(Tokenizer, WhiteSpaceThatManyTokensStripCostsItsLengthOnce) {
  const std::string byte_level = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true})";
  const std::string flags = R"("special":false)";
  std::string added = StrCat("[", Added(260, " ", flags), ",", Added(261, "<a>", flags), "]");
  for (std::string_view flag : {"lstrip", "rstrip"}) {
    for (size_t at = 0; (at = added.find(StrCat("\"", flag, "\":false"), at)) != std::string::npos; ++at) {
      added.replace(at, flag.size() + 8, StrCat("\"", flag, "\":true"));
    }
  }
  ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(SmallJson(byte_level, added)));
  EXPECT_EQ(tokenizer->Encode(std::string(1 << 20, ' '), false).size(), 1u);  // Only the first has a place left.
}

TEST(Tokenizer, TellsWhatATokenIs) {
  const std::string byte_level = R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true})";
  ASSERT_OK_AND_ASSIGN(
      auto tokenizer, Tokenizer::FromJson(SmallJson(byte_level, StrCat("[", Added(260, "<a>", R"("special":true)"), ",",
                                                                       Added(256, "he"), "]"))));
  EXPECT_EQ(tokenizer->size(), 261u);
  EXPECT_TRUE(tokenizer->IsSpecial(260));
  EXPECT_TRUE(tokenizer->IsAdded(256) && tokenizer->InModel(256) && !tokenizer->IsSpecial(256));
  EXPECT_FALSE(tokenizer->InModel(260));
  EXPECT_FALSE(tokenizer->HasToken(261));
  EXPECT_EQ(tokenizer->IdOf("<a>"), 260u);
  EXPECT_EQ(tokenizer->IdOf("Ġw"), 259u);
  EXPECT_EQ(tokenizer->IdOf("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->ByteTokenId(' '), 32u);
  EXPECT_EQ(tokenizer->merges().size(), 4u);
  EXPECT_EQ(tokenizer->merges()[1].result, 257u);
  EXPECT_THAT(tokenizer->Encode("he<a>l", false), ElementsAre(256, 260, 'l'));
  EXPECT_EQ(tokenizer->Decode({256, 260, 'l'}, true), "hel");
}

TEST(Tokenizer, ManyShortTextsMoveTheListOfIdsSeldom) {
  ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(SmallJson()));
  Encoder encoder(tokenizer.get());
  std::vector<TokenId> ids;
  size_t moves = 0;
  for (int i = 0; i < 10'000; ++i) {
    const size_t before = ids.capacity();
    encoder.Encode("hello words of a short text", true, &ids);
    moves += ids.capacity() != before;
  }
  EXPECT_GT(ids.size(), 100'000u);
  EXPECT_LT(moves, 40u);  // Doublings.
}

TEST(Tokenizer, EncodesAMillionOfOneLetter) {
  ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(SmallJson()));
  std::string text;
  for (int i = 0; i < 500000; ++i) text += "lo";
  EXPECT_EQ(tokenizer->Encode(text, false).size(), 500000u);
}

}  // namespace
}  // namespace editd::text
