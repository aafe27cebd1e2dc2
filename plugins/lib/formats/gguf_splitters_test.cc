// Against HF tokenizers with the regular expressions of llama.cpp: tests/golden/gguf_splitters.jsonl, written by
// tests/golden/make_gguf_splitters.py.
#include "plugins/lib/formats/gguf_splitters.h"

#include <fstream>
#include <set>
#include <string>

#include "plugins/lib/formats/gguf_testing.h"
#include "plugins/lib/formats/gguf_tokenizer.h"
#include "plugins/lib/text/byte_alphabet.h"
#include "plugins/lib/text/tokenizer_json.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using Json = nlohmann::json;

// A file of bytes alone whose splitter is `pre`, as a tokenizer.json.
absl::StatusOr<std::string> TokenizerJson(const std::string& pre) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    tokens.push_back(text::ToAlphabet(std::string_view(&c, 1)));
  }
  tokens.push_back(tokens['a'] + tokens['b']);
  GgufWriter writer;
  writer.String("tokenizer.ggml.model", "gpt2").String("tokenizer.ggml.pre", pre);
  writer.Strings("tokenizer.ggml.tokens", tokens).Strings("tokenizer.ggml.merges", {"a b"});
  const std::string file = writer.Build();
  ASSIGN_OR_RETURN(const GgufFile gguf, ReadGguf(file, "m.gguf"));
  ASSIGN_OR_RETURN(const GgufTokenizer made, ConvertGgufTokenizer(gguf, 300, "m.gguf"));
  for (const auto& [name, content] : made.files) {
    if (name == "tokenizer.json") return content;
  }
  return absl::NotFoundError("tokenizer.json");
}

TEST(GgufSplitters, CutAsTheReferenceDoesByTheSamePatterns) {
  std::ifstream file(std::string(EDITD_SOURCE_DIR) + "/tests/golden/gguf_splitters.jsonl");
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  const auto texts = Json::parse(line).get<std::vector<std::string>>();
  std::set<std::string> seen;
  while (std::getline(file, line)) {
    const Json golden = Json::parse(line);
    const auto name = golden[0].get<std::string>();
    seen.insert(name);
    ASSERT_OK_AND_ASSIGN(const std::string json, TokenizerJson(name));
    ASSERT_OK_AND_ASSIGN(const text::TokenizerSpec spec, text::ParseTokenizerJson(json));
    for (size_t i = 0; i < texts.size(); ++i) {
      std::vector<size_t> pieces;
      spec.pre_tokenizer.Split({texts[i]}, text::Places::kNone,
                               [&pieces](const text::Piece& piece) { pieces.push_back(piece.text.size()); });
      EXPECT_EQ(pieces, golden[1][i].get<std::vector<size_t>>()) << name << ": " << texts[i];
    }
  }
  for (const std::string_view name : GgufSplitterNames()) EXPECT_TRUE(seen.contains(std::string(name))) << name;
  EXPECT_GT(seen.size(), 70u);
}

TEST(GgufSplitters, WhatLlamaCppSetsWithTheName) {
  ASSERT_NE(FindGgufSplitter("tekken"), nullptr);
  EXPECT_TRUE(FindGgufSplitter("tekken")->ignore_merges);
  EXPECT_TRUE(FindGgufSplitter("tekken")->add_bos);
  EXPECT_TRUE(FindGgufSplitter("glm4")->ignore_merges);
  EXPECT_FALSE(FindGgufSplitter("glm4")->add_bos);
  EXPECT_FALSE(FindGgufSplitter("gpt-4o")->ignore_merges);
  EXPECT_FALSE(FindGgufSplitter("deepseek-v3")->add_bos);
  EXPECT_TRUE(FindGgufSplitter("qwen35")->nfc);
  EXPECT_EQ(FindGgufSplitter("superbpe"), nullptr);
}

}  // namespace
}  // namespace editd::formats
