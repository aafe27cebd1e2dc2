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

TEST(Tokenizer, RefusesByNameAndPlace) {
  EXPECT_THAT(Tokenizer::FromJson(SmallJson(R"({"type":"Sequence","pretokenizers":[{"type":"Metaspace"}]})")),
              StatusIs(absl::StatusCode::kUnimplemented,
                       "tokenizer.json: pre_tokenizer.pretokenizers[0].type: \"Metaspace\" is not supported"));
}

TEST(Tokenizer, EncodesAMillionOfOneLetter) {
  ASSERT_OK_AND_ASSIGN(auto tokenizer, Tokenizer::FromJson(SmallJson()));
  std::string text;
  for (int i = 0; i < 500000; ++i) text += "lo";
  EXPECT_EQ(tokenizer->Encode(text, false).size(), 500000u);
}

}  // namespace
}  // namespace editd::text
