// Models of layers of others: slices, block expansion, layer swap.
#include "plugins/lib/formats/json.h"
#include "plugins/merge/plugin_testing.h"

namespace editd::merge {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST_F(MergeTest, SlicesAreNumberedAnewAndNothingIsStored) {
  Checkpoint a = Make(1), b = Make(2);
  a.config = R"({"model_type": "llama", "num_hidden_layers": 4, "layer_types": ["w", "x", "y", "z"]})";
  Input("a", a);
  Input("b", b);
  const std::string spec = R"(method: METHOD_PASSTHROUGH
      slices { sources { input: "a" begin: 0 end: 3 } } slices { sources { input: "b" begin: 1 end: 4 } })";
  ASSERT_THAT(Check(spec), IsEmpty());
  const PluginRun run = Run(spec);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 15);
  ExpectSame(run, Up(2), a, Up(2));
  ExpectSame(run, Up(3), b, Up(1));
  ExpectSame(run, Up(5), b, Up(3));
  ExpectSame(run, "model.embed_tokens.weight", a, "model.embed_tokens.weight");
  ExpectSame(run, "model.norm.weight", b, "model.norm.weight");
  ExpectSame(run, "lm_head.weight", b, "lm_head.weight");
  const auto config = formats::ParseJson(run.FileContent("config.json"), "config");
  ASSERT_OK(config);
  EXPECT_EQ((*config)["num_hidden_layers"], 6);
  EXPECT_EQ((*config)["layer_types"].dump(), R"(["w","x","y","x","y","z"])");
  const auto record = formats::ParseJson(run.FileContent("editd_merge.json"), "record");
  ASSERT_OK(record);
  EXPECT_EQ((*record)["tensors"][Up(4)].dump(), StrCat(R"({"same":[1,")", Up(2), R"("]})"));
}

TEST_F(MergeTest, ATextModelsLayersAreCountedInItsOwnPartOfTheConfig) {
  Checkpoint a = Make(1);
  a.config = R"({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 4,
                 "sliding_window_pattern": 2}})";
  Input("a", a);
  const PluginRun run = Run(R"(method: METHOD_PASSTHROUGH
      slices { sources { input: "a" begin: 0 end: 2 } } slices { sources { input: "a" begin: 1 end: 4 } })");
  ASSERT_EQ(run.error(), "");
  const auto config = formats::ParseJson(run.FileContent("config.json"), "config");
  ASSERT_OK(config);
  EXPECT_FALSE(config->contains("num_hidden_layers"));
  EXPECT_EQ((*config)["text_config"]["num_hidden_layers"], 5);
  // By number every second one is global: layers 0 1 | 1 2 3.
  EXPECT_EQ((*config)["text_config"]["layer_types"].dump(),
            R"(["sliding_attention","full_attention","full_attention","sliding_attention","full_attention"])");
}

TEST_F(MergeTest, AnAdapterIsNoModel) {
  Input("a", Make(1));
  PluginRun adapter = Version(Make(2));
  (*adapter.reply.mutable_attributes())["kind"] = "adapter";
  driver_.Model("b", adapter);
  EXPECT_THAT(Check(kMean),
              Contains(HasSubstr("the job's input \"b\" is an adapter, not a model; the plugin adapter")));
}

TEST_F(MergeTest, SlicesOfSeveralModelsHaveGradientsOfTheirOwn) {
  Checkpoint a = Make(1), b = Make(2);
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(R"(method: METHOD_LINEAR parameters { weight { value: 1 } }
      slices { sources { input: "a" begin: 0 end: 2 parameters { weight { value: [1, 3] } } }
               sources { input: "b" begin: 2 end: 4 } }
      slices { sources { input: "a" begin: 3 end: 4 } })");
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 9);
  const auto expect = [&](int layer, int of_a, int of_b, float weight) {
    const std::vector<float> made = Floats(run.TensorBytes(Up(layer)));
    for (size_t i = 0; i < made.size(); ++i) {
      const float x = a.Find(Up(of_a))->values[i], y = b.Find(Up(of_b))->values[i];
      EXPECT_NEAR(made[i], (weight * x + y) / (weight + 1),
                  0.005f * std::abs(made[i]) + 1e-6f);  // bfloat16's rounding.
    }
  };
  expect(0, 0, 2, 1);
  expect(1, 1, 3, 3);
  ExpectSame(run, Up(2), a, Up(3));
}

TEST_F(MergeTest, ASliceMayHaveABaseOfItsOwn) {
  Input("a", Make(1));
  Input("b", Make(2));
  Input("c", Make(3));
  const std::string spec =
      R"(method: METHOD_TASK_ARITHMETIC base: "a" parameters { weight { value: 1 } lambda { value: 0 } }
      slices { sources { input: "c" begin: 0 end: 2 } } slices { sources { input: "c" begin: 2 end: 4 } base: "b" })";
  ASSERT_THAT(Check(spec), IsEmpty());
  const PluginRun run = Run(spec);
  ASSERT_EQ(run.error(), "");
  ExpectSame(run, Up(1), Make(1), Up(1));
  ExpectSame(run, Up(3), Make(2), Up(3));
}

TEST_F(MergeTest, SlicesThatEachHaveABaseNeedNoOther) {
  Input("a", Make(1));
  Input("b", Make(2));
  Input("c", Make(3));
  const std::string spec =
      R"(method: METHOD_TASK_ARITHMETIC parameters { weight { value: 1 } lambda { value: 0 } }
      slices { sources { input: "c" begin: 0 end: 2 } base: "a" } slices { sources { input: "c" begin: 2 end: 4 } )";
  ASSERT_THAT(Check(spec + R"(base: "b" })"), IsEmpty());
  const PluginRun run = Run(spec + R"(base: "b" })");
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 11);
  ExpectSame(run, "model.embed_tokens.weight", Make(1), "model.embed_tokens.weight");
  ExpectSame(run, Up(1), Make(1), Up(1));
  ExpectSame(run, Up(3), Make(2), Up(3));
  ExpectSame(run, "lm_head.weight", Make(2), "lm_head.weight");
  EXPECT_THAT(Check(spec + "}"), Contains(HasSubstr("base: is empty; the method task_arithmetic takes differences")));
}

TEST_F(MergeTest, BlockExpansionAddsLayersWhoseOutputIsZero) {
  Checkpoint a = Make(1);
  for (int i = 0; i < 4; ++i) {
    for (const char* part : {"mlp.down_proj", "self_attn.o_proj"}) {
      a.tensors.push_back({StrCat("model.layers.", i, ".", part, ".weight"), {16, 32}, std::vector<float>(512, -1.5f)});
    }
  }
  Input("a", a);
  const PluginRun run = Run(R"(block_expansion { input: "a" blocks: 2 })");
  ASSERT_EQ(run.error(), "");
  for (const int layer : {2, 5}) {
    const editd::v1::OutputTensor* zero = run.Tensor(StrCat("model.layers.", layer, ".mlp.down_proj.weight"));
    ASSERT_NE(zero, nullptr);
    EXPECT_EQ(run.TensorBytes(zero->name()), std::string(1024, '\0'));
    ExpectSame(run, Up(layer), a, Up(layer == 2 ? 1 : 3));
  }
  ExpectSame(run, Up(3), a, Up(2));
  EXPECT_EQ(run.Tensor("model.layers.2.mlp.down_proj.weight")->id(),
            run.Tensor("model.layers.5.mlp.down_proj.weight")->id());
  EXPECT_THAT(Check(R"(block_expansion { input: "a" blocks: 3 })"),
              Contains(HasSubstr("block_expansion.blocks: 3 new blocks can't be spread evenly over 4 layers")));
  EXPECT_THAT(Check(R"(method: METHOD_TIES block_expansion { input: "a" blocks: 2 })"),
              Contains(HasSubstr("method: leave it out")));
}

TEST_F(MergeTest, LayerSwapTakesTheOuterLayersOfOneModel) {
  Checkpoint a = Make(1), b = Make(2);
  Input("math", a);
  Input("vi", b);
  const PluginRun run =
      Run(R"(layer_swap { middle: "math" outer: "vi" bottom: 1 top: 1 bottom_transition: 1 embeddings: "math" })");
  ASSERT_EQ(run.error(), "");
  ExpectSame(run, Up(0), b, Up(0));
  ExpectSame(run, Up(2), a, Up(2));
  ExpectSame(run, Up(3), b, Up(3));
  ExpectSame(run, "model.embed_tokens.weight", a, "model.embed_tokens.weight");
  ExpectSame(run, "model.norm.weight", b, "model.norm.weight");
  const std::vector<float> made = Floats(run.TensorBytes(Up(1)));
  for (size_t i = 0; i < made.size(); ++i) {
    const float mean = (a.Find(Up(1))->values[i] + b.Find(Up(1))->values[i]) / 2;
    EXPECT_EQ(made[i], BFloat16ToFloat(FloatToBFloat16(mean)));
  }
  EXPECT_THAT(Check(R"(layer_swap { middle: "math" outer: "vi" bottom: 3 top: 3 })"),
              Contains(HasSubstr("layer_swap: bottom, top and transitions are 6 of 4 layers")));
}

TEST_F(MergeTest, SlicesThatCanNotBeAreFound) {
  Input("a", Make(1));
  Input("b", Make(2, 2));
  EXPECT_THAT(Check(R"(method: METHOD_LINEAR parameters { weight { value: 1 } }
                       slices { sources { input: "a" begin: 0 end: 2 } sources { input: "b" begin: 1 end: 3 } }
                       slices { sources { input: "a" begin: 0 end: 2 } sources { input: "b" begin: 0 end: 1 } }
                       slices { })"),
              ElementsAre(HasSubstr("slices[0].sources[1]: layers 1 to before 3 are not in \"b\", which has 2"),
                          HasSubstr("slices[1].sources[1]: has 1 layers, and slices[1].sources[0] 2"),
                          HasSubstr("slices[2].sources: is empty")));
  EXPECT_THAT(Check(R"(method: METHOD_TIES base: "b" parameters { weight { value: 1 } }
                       slices { sources { input: "a" begin: 2 end: 4 } })"),
              Contains(HasSubstr("slices[0].sources: the base's layers can't be told; list \"b\"")));
  EXPECT_THAT(Check(R"(method: METHOD_LINEAR models { input: "a" } slices { })"),
              Contains(HasSubstr("exclude each other")));
}

}  // namespace
}  // namespace editd::merge
