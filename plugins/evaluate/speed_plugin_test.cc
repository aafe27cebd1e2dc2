// The measurement `speed` in a real worker. Times are what they are; that they fit together is what is tested.
#include <dlfcn.h>

#include "plugins/evaluate/plugin_testing.h"
#include "plugins/evaluate/speed.h"

namespace editd::evaluate {
namespace {

using plugins::evaluate::v1::EvaluateResult;
using plugins::evaluate::v1::EvaluateSpec;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Rates, BestAndMedian) {
  EXPECT_EQ((Rates{{3, 1, 2}}).best(), 3);
  EXPECT_EQ((Rates{{3, 1, 2}}).median(), 2);
  EXPECT_EQ((Rates{{4, 1, 2, 3}}).median(), 2.5);
  EXPECT_EQ(Rates{}.best(), 0);
}

TEST(ProcessSeconds, AreThoseOfTheSystem) {
  const double seconds = ProcessSeconds();
  EXPECT_GT(seconds, -1e-9);
  EXPECT_LT(seconds, 300);
  EXPECT_GE(ProcessSeconds(), seconds);
}

TEST_F(EvaluatePluginTest, MeasuresSpeedWithoutAText) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  spec.mutable_speed()->set_prompt_tokens(40);
  spec.mutable_speed()->set_tokens(3);
  spec.mutable_speed()->set_batch(2);
  spec.mutable_speed()->set_repeats(2);
  PluginDriver driver;
  driver.Model("smol", full).Threads(1);
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
  const PluginRun run = driver.Run("evaluate", spec, dir_ / "staging");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  EXPECT_EQ(result.perplexity_size(), 0);
  const auto& speed = result.speed();
  EXPECT_THAT(speed.machine(), HasSubstr("processors"));
  EXPECT_EQ(speed.threads(), 1u);
  EXPECT_EQ(speed.compute(), plugins::evaluate::v1::COMPUTE_TYPE_F32);
  EXPECT_EQ(speed.prompt_tokens(), 40u);
  EXPECT_EQ(speed.repeats(), 2u);
  ASSERT_EQ(speed.speed_size(), 1);
  const auto& one = speed.speed(0);
  EXPECT_EQ(one.model(), "smol");
  for (const double rate : {one.prefill_median(), one.decode_median(), one.batch_decode_median()}) EXPECT_GT(rate, 0);
  EXPECT_GE(one.prefill_best(), one.prefill_median());
  EXPECT_GE(one.decode_best(), one.decode_median());
  EXPECT_DOUBLE_EQ(one.first_logit_seconds(),
                   speed.start_seconds() + speed.products_seconds() + one.load_seconds() + one.first_seconds());
  EXPECT_LT(one.first_logit_seconds(), 60);
  // 2 layers, 2 key heads of 12, keys and values, float32.
  EXPECT_EQ(one.cache_bytes_per_token(), 2u * 2 * 2 * 12 * 4);
  const TinyModel model(Full(), 0);
  uint64_t bytes = 0;
  for (const std::string& name : model.weights->names()) bytes += model.weights->bytes(name).size();
  EXPECT_EQ(one.weight_bytes(), bytes);
  EXPECT_GT(speed.anonymous_bytes(), 1'000'000u);
  EXPECT_GT(speed.peak_rss_bytes(), speed.anonymous_bytes());
}

TEST_F(EvaluatePluginTest, SpeedSaysWhatIsTooMuch) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  spec.mutable_speed()->set_batch(65);
  spec.mutable_speed()->set_repeats(101);
  PluginDriver driver;
  driver.Model("smol", full);
  EXPECT_THAT(driver.Check("evaluate", spec),
              ElementsAre("params.speed.batch: 65 is more than 64", "params.speed.repeats: 101 is more than 100"));
  spec.mutable_speed()->Clear();
  spec.mutable_speed()->set_prompt_tokens(100000);
  EXPECT_THAT(driver.Run("evaluate", spec, dir_ / "staging").error(),
              HasSubstr("smol: params.speed: 100000 tokens read and 64 made are more than the 2048 positions"));
}

TEST_F(EvaluatePluginTest, CudaIsRefusedWhereThereIsNoDriver) {
  if (::dlopen("libcuda.so.1", RTLD_NOW) != nullptr) GTEST_SKIP() << "this machine has a driver";
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  spec.mutable_speed();
  spec.set_device(plugins::evaluate::v1::DEVICE_CUDA);
  PluginDriver driver;
  driver.Model("smol", full);
  EXPECT_THAT(driver.Check("evaluate", spec),
              ElementsAre(HasSubstr("params.device: CUDA: this machine has no NVIDIA driver")));
  spec.set_device(plugins::evaluate::v1::DEVICE_CPU);
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
}

}  // namespace
}  // namespace editd::evaluate
