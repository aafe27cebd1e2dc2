// Script leak, by the built plugin in a real worker.
#include "absl/strings/str_split.h"
#include "plugins/evaluate/plugin_testing.h"

namespace editd::evaluate {
namespace {

using plugins::evaluate::v1::EvaluateResult;
using plugins::evaluate::v1::EvaluateSpec;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using LeakPluginTest = EvaluatePluginTest;

TEST_F(LeakPluginTest, MassIsToldBesideThePerplexity) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  PluginDriver driver = WithText("t.jsonl", "{\"text\": \"the cat in\"}\n{\"text\": \"the house\"}\n", &spec);
  spec.mutable_script_leak();
  driver.Model("smol", full);
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
  const PluginRun run = driver.Run("evaluate", spec, dir_ / "staging");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  EXPECT_THAT(result.script_leak().allowed_script(), ElementsAre("Latin"));
  const auto& scores = result.script_leak().scores(0);
  EXPECT_EQ(scores.model(), "smol");
  EXPECT_EQ(scores.rows(), 263u);
  EXPECT_GT(scores.rows_outside(), 20u);
  EXPECT_EQ(scores.positions(), result.perplexity(0).tokens());
  EXPECT_GT(scores.mass().value(), 0);
  EXPECT_LT(scores.mass().value(), 1);
  EXPECT_GT(scores.mass().error(), 0);
  const std::vector<std::string> lines =
      absl::StrSplit(run.FileContent("measured-documents.jsonl"), '\n', absl::SkipEmpty());
  double sum = 0, positions = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto line = nlohmann::json::parse(lines[i]);
    sum += line["outside"][0].get<double>();
    positions += line["tokens"][0].get<double>();
  }
  EXPECT_NEAR(scores.mass().value(), sum / positions, 1e-15);
}

TEST_F(LeakPluginTest, WhatIsWrittenIsLookedAt) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  const PluginRun trimmed = Import(TinyModel(Trimmed(), 0), "trimmed");
  EvaluateSpec spec;
  auto* const leak = spec.mutable_script_leak();
  std::string lines;
  for (int i = 0; i < 7; ++i) lines += "{\"text\": \"in the house\"}\n";
  EXPECT_OK(WriteFileAtomically(dir_ / "p.jsonl", StrCat("{\"prompt\": \"the cat\"}\n", lines)));
  leak->add_prompt_path("asset:p");
  leak->set_max_tokens(300);
  leak->set_temperature(2);
  leak->set_raw(true);
  PluginDriver driver;
  driver.File("asset:p", "p.jsonl", "", dir_ / "p.jsonl").Model("smol", full).Model("smol-envi", trimmed);
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
  const PluginRun run = driver.Run("evaluate", spec, dir_ / "staging");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  EXPECT_EQ(result.perplexity_size(), 0);
  EXPECT_EQ(result.script_leak().prompts(0).documents(), 8u);
  EXPECT_EQ(result.script_leak().max_tokens(), 300u);
  ASSERT_EQ(result.script_leak().scores_size(), 2);
  for (const auto& scores : result.script_leak().scores()) {
    EXPECT_GT(scores.rows_outside(), 20u);
    EXPECT_GT(scores.generated_tokens(), 0u);
    EXPECT_LE(scores.generated_tokens(), 2400u);
    // A random model writes random bytes: here and there they are a letter of some script.
    EXPECT_GT(scores.generated_outside(), 0u);
    EXPECT_LT(scores.generated_outside(), scores.generated_tokens());
    EXPECT_NEAR(scores.generated().value(), static_cast<double>(scores.generated_outside()) / scores.generated_tokens(),
                1e-15);
    EXPECT_EQ(scores.positions(), 0u);
  }
}

TEST_F(LeakPluginTest, ASpecThatMakesNoSenseIsFoundAtSubmit) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  spec.mutable_script_leak()->add_allowed_script("Latn");
  spec.mutable_script_leak()->add_allowed_script("Grek ish");
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", spec),
              ElementsAre(HasSubstr("script_leak: is measured where data is scored"),
                          HasSubstr("script_leak.allowed_script[1]: no script named \"Grek ish\"")));
  EvaluateSpec other;
  other.mutable_script_leak()->add_prompt_path("");
  other.mutable_script_leak()->set_temperature(-1);
  other.mutable_script_leak()->set_max_tokens(1 << 20);
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", other),
              ElementsAre(HasSubstr("script_leak.prompt_path[0]: is empty"), HasSubstr("script_leak.max_tokens"),
                          HasSubstr("script_leak.temperature: -1 is not between 0 and 100")));
  // What says how to write, without anything to write after.
  EvaluateSpec idle;
  idle.add_data()->set_path("asset:t");
  idle.mutable_script_leak()->set_raw(true);
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", idle),
              ElementsAre(HasSubstr("params.script_leak: raw, max_tokens and temperature are of what is written")));
  EvaluateSpec none;
  EXPECT_OK(WriteFileAtomically(dir_ / "none.jsonl", "\n"));
  none.mutable_script_leak()->add_prompt_path("asset:none");
  PluginDriver driver;
  driver.File("asset:none", "none.jsonl", "", dir_ / "none.jsonl").Model("smol", full);
  EXPECT_THAT(driver.Run("evaluate", none, dir_ / "none").error(),
              HasSubstr("params.script_leak.prompt_path: no prompt in it"));
}

}  // namespace
}  // namespace editd::evaluate
