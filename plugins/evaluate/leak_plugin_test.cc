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

TEST_F(LeakPluginTest, ASpecThatMakesNoSenseIsFoundAtSubmit) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  spec.mutable_script_leak()->add_allowed_script("Latn");
  spec.mutable_script_leak()->add_allowed_script("Grek ish");
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", spec),
              ElementsAre(HasSubstr("script_leak: is measured where data is scored"),
                          HasSubstr("script_leak.allowed_script[1]: no script named \"Grek ish\"")));
}

}  // namespace
}  // namespace editd::evaluate
