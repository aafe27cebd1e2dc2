// Models of different tokens: rows that are matched, and the files that go with them.
#include "plugins/lib/formats/json.h"
#include "plugins/merge/plugin_testing.h"

namespace editd::merge {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A byte-level tokenizer of the bytes' 256 tokens and some more.
std::string TokenizerJson(const std::vector<std::string>& more, const std::vector<std::string>& specials) {
  formats::Json vocabulary = formats::Json::object(), merges = formats::Json::array(), added = formats::Json::array();
  int id = 0;
  const auto byte_text = [](int byte) -> std::string {  // GPT-2's alphabet.
    const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    int code = byte;
    if (!shown) {
      code = 256;
      for (int i = 0; i < byte; ++i) {
        if (!((i >= 33 && i <= 126) || (i >= 161 && i <= 172) || i >= 174)) ++code;
      }
    }
    if (code < 128) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
  };
  for (int byte = 0; byte < 256; ++byte) vocabulary[byte_text(byte)] = id++;
  for (const std::string& token : more) {  // Two letters each.
    vocabulary[token] = id++;
    merges.push_back(StrCat(token.substr(0, 1), " ", token.substr(1)));
  }
  for (const std::string& token : specials) {
    added.push_back({{"id", id++},
                     {"content", token},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const formats::Json file = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", nullptr},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", false},
        {"byte_fallback", false},
        {"ignore_merges", false},
        {"vocab", vocabulary},
        {"merges", merges}}}};
  return file.dump();
}

// A model of a tokenizer with `rows` rows; row r of model m is all 1000 m + r.
Checkpoint WithTokens(int model, int rows, const std::string& tokenizer, const std::string& eos) {
  Checkpoint made = Make(static_cast<uint32_t>(model));
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight"}) {
    Checkpoint::Tensor* const tensor = made.Find(name);
    tensor->dtype = DType::kF32;
    tensor->shape = {rows, 16};
    tensor->values.clear();
    for (int row = 0; row < rows; ++row) {
      for (int i = 0; i < 16; ++i) tensor->values.push_back(static_cast<float>(1000 * model + row));
    }
  }
  made.files["tokenizer.json"] = tokenizer;
  made.files["tokenizer_config.json"] = StrCat(R"({"eos_token": ")", eos, R"("})");
  return made;
}

class VocabularyTest : public MergeTest {
 protected:
  VocabularyTest() {
    // "ab" and the end of a text are in both under other ids; "cd" only in a, "xy" only in b.
    Input("a", WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>"));
    Input("b", WithTokens(2, 260, TokenizerJson({"xy", "ab"}, {"</s>"}), "</s>"));
  }
  // The value of each row.
  static std::vector<float> Rows(const PluginRun& run) {
    const std::string bytes = run.TensorBytes("model.embed_tokens.weight");
    std::vector<float> rows;
    for (size_t at = 0; at + 64 <= bytes.size(); at += 64) {
      float first, last;
      std::memcpy(&first, bytes.data() + at, 4);
      std::memcpy(&last, bytes.data() + at + 60, 4);
      EXPECT_EQ(first, last);
      rows.push_back(first);
    }
    return rows;
  }
  static std::string Mean(const std::string& vocabulary) {
    return StrCat(
        R"(method: METHOD_LINEAR parameters { weight { value: 1 } } models { input: "a" } models { input: "b" }
                     vocabulary { )",
        vocabulary, " }");
  }
};

TEST_F(VocabularyTest, ModelsOfOtherTokensAreRefusedUnlessTheRowsAreMatched) {
  Checkpoint c = WithTokens(3, 264, TokenizerJson({"ab", "xy"}, {"<|end|>"}), "<|end|>");
  driver_ = PluginDriver();
  Input("a", WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>"));
  Input("c", c);
  const PluginRun run = Run(R"(method: METHOD_LINEAR parameters { weight { value: 1 } }
                               models { input: "a" } models { input: "c" })");
  EXPECT_THAT(run.error(), HasSubstr(R"(token 257 is "cd" in "a" and "xy" in "c"; set params.vocabulary)"));
}

TEST_F(VocabularyTest, TheBasesTokensTakeTheirRowsFromEachModel) {
  ASSERT_THAT(Check(Mean("of: VOCABULARY_OF_BASE pad_to_multiple: 8")), IsEmpty());
  const PluginRun run = Run(Mean("of: VOCABULARY_OF_BASE pad_to_multiple: 8"));
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 264u);  // 259 tokens.
  EXPECT_EQ(rows[65], (1065 + 2065) / 2.0f);
  EXPECT_EQ(rows[256], (1256 + 2257) / 2.0f);  // "ab"
  EXPECT_EQ(rows[257], 1257);                  // "cd": the only model that has it.
  EXPECT_EQ(rows[258], (1258 + 2258) / 2.0f);  // By its role.
  EXPECT_EQ(rows[259], 0);                     // Padding.
  EXPECT_EQ(run.reply.attributes().at("vocab.rows"), "264");
  EXPECT_EQ(run.reply.attributes().at("vocab.used"), "259");
  const auto config = formats::ParseJson(run.FileContent("config.json"), "config");
  ASSERT_OK(config);
  EXPECT_EQ((*config)["vocab_size"], 264);
}

TEST_F(VocabularyTest, AUnionHasTheOthersTokensToo) {
  const PluginRun run = Run(Mean("of: VOCABULARY_OF_UNION"));
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 260u);
  EXPECT_EQ(rows[259], 2256);  // "xy"
  const auto tokenizer = formats::ParseJson(run.FileContent("tokenizer.json"), "tokenizer");
  ASSERT_OK(tokenizer);
  const formats::Json& added = (*tokenizer)["added_tokens"];
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[1]["content"], "xy");
  EXPECT_EQ(added[1]["id"], 259);
  EXPECT_EQ(added[1]["special"], false);
}

TEST_F(VocabularyTest, AnotherInputsTokensAndRulesForSome) {
  const PluginRun run = Run(Mean(R"(of: VOCABULARY_OF_INPUT input: "b"
      token { token: "xy" other { input: "a" token: "cd" } } token { token: "ab" zero: true force: true }
      token { token: "A" input: "a" force: true } token { token: "B" other { input: "b" id: 3 } })"));
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 259u);
  EXPECT_EQ(rows[256], (1257 + 2256) / 2.0f);  // a has no "xy": its row is that of "cd".
  EXPECT_EQ(rows[257], 0);
  EXPECT_EQ(rows[65], 1065);                                     // Both take a's.
  EXPECT_EQ(rows[66], (1066 + 2066) / 2.0f);                     // Both have it.
  for (const editd::v1::OutputFile& file : run.reply.files()) {  // b's, as it is.
    if (file.name() != "tokenizer_config.json") continue;
    EXPECT_EQ(file.size(), std::strlen(R"({"eos_token": "</s>"})"));
  }
}

TEST_F(VocabularyTest, RulesThatCanNotBeAreFound) {
  EXPECT_THAT(
      Check(Mean(R"(input: "a" token { } token { token: "x" input: "c" } token { token: "y" other { input: "a" } })")),
      AllOf(Contains(HasSubstr("vocabulary.of: is not set")),
            Contains(HasSubstr("vocabulary.token[0].token: is empty")),
            Contains(HasSubstr("vocabulary.token[0]: says nothing")),
            Contains(HasSubstr("vocabulary.token[1].input: no input is named \"c\"")),
            Contains(HasSubstr("vocabulary.token[2].other: names no token"))));
  EXPECT_THAT(Run(Mean(R"(of: VOCABULARY_OF_BASE token { token: "xy" zero: true })")).error(),
              HasSubstr("params.vocabulary.token[0].token: the result has no token \"xy\""));
  EXPECT_THAT(Run(Mean(R"(of: VOCABULARY_OF_BASE token { token: "cd" input: "b" })")).error(),
              HasSubstr("params.vocabulary.token[0]: \"b\" has no such token"));
}

TEST_F(VocabularyTest, AModelWithoutATokenizerIsFoundAtSubmit) {
  Checkpoint c = Make(3);
  c.files["vocab.json"] = "{}";
  Input("c", c);
  const std::string three = R"(method: METHOD_LINEAR parameters { weight { value: 1 } } models { input: "a" }
                               models { input: "b" } models { input: "c" } )";
  EXPECT_THAT(Check(three + "vocabulary { of: VOCABULARY_OF_BASE }"),
              ElementsAre(HasSubstr("vocabulary: \"c\" has no tokenizer.json; its vocabulary can't be matched")));
  EXPECT_THAT(
      Check(three),
      ElementsAre(HasSubstr("tensor \"model.embed_tokens.weight\" is [260, 16] in \"b\" and [264, 16] in \"a\"; "
                            "set vocabulary to match rows by token (and so 1 more)"),
                  HasSubstr("is [40, 16] in \"c\"")));
}

TEST_F(VocabularyTest, RowsOfTheModelThatHasThemWhereOthersLackTheTensor) {
  Checkpoint b = WithTokens(2, 260, TokenizerJson({"xy", "ab"}, {"</s>"}), "</s>");
  b.Remove("model.embed_tokens.weight");
  b.Remove("lm_head.weight");
  driver_ = PluginDriver();
  Input("a", WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>"));
  Input("b", b);
  const PluginRun run = Run(R"(method: METHOD_TASK_ARITHMETIC base: "a" models { input: "b" }
                               parameters { weight { value: 0.5 } } missing: MISSING_SKIP
                               vocabulary { of: VOCABULARY_OF_UNION pad_to_multiple: 4 })");
  ASSERT_EQ(run.error(), "");
  const std::vector<float> rows = Rows(run);
  ASSERT_EQ(rows.size(), 260u);
  for (int row = 0; row < 259; ++row) EXPECT_EQ(rows[row], 1000 + row);
  EXPECT_EQ(rows[259], 0);  // "xy", of which nothing has a row.
  EXPECT_TRUE(run.Tensor("lm_head.weight")->is_new());
  EXPECT_TRUE(run.Tensor(Up(1))->is_new());
}

TEST_F(VocabularyTest, ATensorWithoutRowsIsFound) {
  for (const char* name : {"a", "b"}) {
    Checkpoint one = WithTokens(1, 264, TokenizerJson({"ab", "cd"}, {"<|end|>"}), "<|end|>");
    one.Find("lm_head.weight")->shape = {};
    one.Find("lm_head.weight")->values = {1};
    if (name[0] == 'a') driver_ = PluginDriver();
    Input(name, one);
  }
  const std::string spec = Mean("of: VOCABULARY_OF_BASE");
  EXPECT_THAT(Check(spec), ElementsAre(HasSubstr("vocabulary: tensor \"lm_head.weight\" has no rows")));
  EXPECT_THAT(Run(spec).error(), HasSubstr("params.vocabulary: tensor \"lm_head.weight\" has no rows"));
}

TEST_F(VocabularyTest, ChatTemplates) {
  Checkpoint a = Make(1), b = Make(2);
  a.files["chat_template.jinja"] = "{{ a }}";
  b.files["tokenizer_config.json"] = R"({"chat_template": "{{ b }}", "x": 1})";
  driver_ = PluginDriver();
  Input("a", a);
  Input("b", b);
  EXPECT_EQ(Run(StrCat(kMean, R"( chat_template: "{{ mine }}")")).FileContent("chat_template.jinja"), "{{ mine }}");
  EXPECT_EQ(Run(StrCat(kMean, R"( chat_template: "b")")).FileContent("chat_template.jinja"), "{{ b }}");
  const PluginRun as_is = Run(kMean);
  EXPECT_THAT(as_is.reply.files(), Contains(testing::Property(&editd::v1::OutputFile::name, "chat_template.jinja")));
  EXPECT_THAT(Check(StrCat(kMean, R"( chat_template: "chatml")")),
              Contains(HasSubstr("chat_template: no input is named \"chatml\"")));
}

}  // namespace
}  // namespace editd::merge
