// The built plugin in a real worker, on versions that the plugin import has made.
#include <cmath>

#include "absl/strings/str_split.h"
#include "plugins/evaluate/plugin_testing.h"

namespace editd::evaluate {
namespace {

using plugins::evaluate::v1::EvaluateResult;
using plugins::evaluate::v1::EvaluateSpec;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST_F(EvaluatePluginTest, ComparesTwoVersions) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  const PluginRun trimmed = Import(TinyModel(Trimmed(), 0), "trimmed");
  EvaluateSpec spec;
  PluginDriver driver =
      WithText("held.jsonl", "{\"text\": \"the cat in the house\"}\n{\"text\": \"this and that\"}\n", &spec);
  driver.Model("smol", full).Model("smol-envi", trimmed);
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
  const PluginRun run = driver.Run("evaluate", spec, dir_ / "staging");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  ASSERT_EQ(result.perplexity_size(), 2);
  EXPECT_EQ(result.perplexity(0).model(), "smol");
  EXPECT_EQ(result.perplexity(0).documents(), 2u);
  EXPECT_EQ(result.data(0).content(), "asset:held.jsonl");
  EXPECT_EQ(result.settings().context(), 512u);
  EXPECT_EQ(result.perplexity(0).bytes(), 33u);
  EXPECT_EQ(result.perplexity(1).tokens(), result.perplexity(0).tokens() + 2);  // "and" in three.
  EXPECT_GT(result.perplexity(0).perplexity(), 1);
  EXPECT_NEAR(result.perplexity(0).bits_per_byte() * 33 * std::log(2.0), result.perplexity(0).nll(), 1e-9);
  EXPECT_EQ(result.logits_diff().max_abs(), 0);
  EXPECT_EQ(result.logits_diff().kl(), 0);
  EXPECT_EQ(result.logits_diff().rows_base_only(), 2u);
  EXPECT_GT(result.logits_diff().positions_left_out(), 0u);

  const std::vector<std::string> lines =
      absl::StrSplit(run.FileContent("measured-documents.jsonl"), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 3u);
  const auto head = nlohmann::json::parse(lines[0]), second = nlohmann::json::parse(lines[2]);
  EXPECT_EQ(head["models"].size(), 2u);
  EXPECT_EQ(head["models"][0]["cuts"], head["models"][1]["cuts"]);
  EXPECT_EQ(second["file"], "held.jsonl");
  EXPECT_EQ(second["line"], 2);
  EXPECT_EQ(second["bytes"], 13);
  EXPECT_EQ(second["scored"], nlohmann::json({13, 13}));
  const double first = nlohmann::json::parse(lines[1])["nll"][1];
  EXPECT_NEAR(first + second["nll"][1].get<double>(), result.perplexity(1).nll(), 1e-9);
}

// An empty document is counted and left out; white space is text: it has bytes and no words.
TEST_F(EvaluatePluginTest, EmptyAndBlankDocumentsFollowTheRule) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  PluginDriver driver =
      WithText("some.jsonl", "{\"text\": \"\"}\n{\"text\": \" \\n\\t\"}\n{\"text\": \"the cat\"}\n", &spec);
  const PluginRun run = driver.Model("smol", full).Run("evaluate", spec, dir_ / "some");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  EXPECT_EQ(result.data(0).documents(), 3u);
  EXPECT_EQ(result.data(0).empty_documents(), 1u);
  EXPECT_EQ(result.perplexity(0).documents(), 2u);
  EXPECT_EQ(result.perplexity(0).bytes(), 10u);
  EXPECT_EQ(result.perplexity(0).words(), 2u);
  // Nothing but white space: no word to divide by.
  EvaluateSpec blank;
  PluginDriver only = WithText("blank.txt", " \n\t", &blank);
  const PluginRun alone = only.Model("smol", full).Run("evaluate", blank, dir_ / "blank");
  ASSERT_EQ(alone.error(), "");
  const auto perplexity = alone.Result<EvaluateResult>().perplexity(0);
  EXPECT_EQ(perplexity.words(), 0u);
  EXPECT_EQ(perplexity.word_perplexity(), 0);
  EXPECT_GT(perplexity.bits_per_byte(), 0);
  EXPECT_TRUE(std::isfinite(perplexity.perplexity()));
}

TEST_F(EvaluatePluginTest, ASpecThatMakesNoSenseIsFoundAtSubmit) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  spec.set_context(8);
  spec.set_stride(9);
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", spec),
              ElementsAre(HasSubstr("data"), HasSubstr("stride")));
  EvaluateSpec other;
  PluginDriver driver = WithText("t.txt", "text", &other);
  other.mutable_data(0)->set_form(plugins::evaluate::v1::FORM_TEXT);
  other.mutable_data(0)->set_field("body");
  other.set_convention(plugins::evaluate::v1::CONVENTION_LM_EVAL);
  other.set_stride(64);
  EXPECT_THAT(driver.Model("smol", full).Check("evaluate", other),
              ElementsAre(HasSubstr("data[0].field"), HasSubstr("stride: this convention")));
}

TEST_F(EvaluatePluginTest, ErrorsSayWhere) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  PluginDriver bad = WithText("bad.txt", "text\xff", &spec);
  EXPECT_THAT(bad.Model("smol", full).Run("evaluate", spec, dir_ / "1").error(),
              ::testing::AllOf(HasSubstr("params.data[0].path"), HasSubstr("bad.txt"), HasSubstr("4")));
  EvaluateSpec nothing;
  PluginDriver empty = WithText("empty.txt", "", &nothing);
  EXPECT_THAT(empty.Model("smol", full).Run("evaluate", nothing, dir_ / "2").error(), HasSubstr("no text"));
  EvaluateSpec few;
  few.set_convention(plugins::evaluate::v1::CONVENTION_LLAMA_CPP);
  PluginDriver small = WithText("few.txt", "a few tokens", &few);
  EXPECT_THAT(small.Model("smol", full).Run("evaluate", few, dir_ / "4").error(),
              ::testing::AllOf(HasSubstr("params.data: only 12 tokens"), HasSubstr("1024")));
  EvaluateSpec longer;
  longer.set_context(4096);
  PluginDriver beyond = WithText("t.txt", "text", &longer);
  EXPECT_THAT(beyond.Model("smol", full).Run("evaluate", longer, dir_ / "5").error(),
              HasSubstr("params.context: 4096 is more than the 2048 positions that smol knows"));
  EvaluateSpec apart;
  PluginDriver strangers = WithText("t.txt", "text", &apart);
  Vocabulary none = Full();
  for (std::string& token : none.order) token = StrCat("x", token);
  none.merges.clear();
  TinyModel stranger(none, 0);
  stranger.config.replace(stranger.config.find("\"eos_token_id\""), 14, "\"bos_token_id\":0,\"unused\"");
  strangers.Model("smol", full).Model("stranger", Import(stranger, "stranger"));
  EXPECT_THAT(strangers.Run("evaluate", apart, dir_ / "6").error(), HasSubstr("have no token in common"));
  TinyModel other(Full(), 0);
  other.config.replace(other.config.find("LlamaForCausalLM"), 16, "RwkvForCausalLM2");
  EvaluateSpec good;
  PluginDriver driver = WithText("good.txt", "text", &good);
  EXPECT_THAT(driver.Model("rwkv", Import(other, "rwkv")).Run("evaluate", good, dir_ / "3").error(),
              ::testing::AllOf(HasSubstr("rwkv: config.json"), HasSubstr("RwkvForCausalLM2")));
}

}  // namespace
}  // namespace editd::evaluate
