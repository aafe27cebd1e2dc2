// Models side by side: what the plugin makes, what it takes as it is, and what it says of a spec that is wrong.
#include "plugins/lib/formats/json.h"
#include "plugins/merge/plugin_testing.h"

namespace editd::merge {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST_F(MergeTest, AMeanIsWeightedAndSaysWhereItComesFrom) {
  Checkpoint a = Make(1), b = Make(2);
  Input("a", a);
  Input("b", b);
  ASSERT_THAT(Check(kMean), IsEmpty());
  const PluginRun run = Run(kMean);
  ASSERT_EQ(run.error(), "");
  EXPECT_EQ(run.reply.tensors_size(), 11);
  const std::vector<float> norm = Floats(run.TensorBytes("model.norm.weight"));
  for (size_t i = 0; i < norm.size(); ++i) {
    const float x = a.Find("model.norm.weight")->values[i], y = b.Find("model.norm.weight")->values[i];
    EXPECT_EQ(norm[i], BFloat16ToFloat(FloatToBFloat16((x + 3 * y) / 4)));
  }
  EXPECT_EQ(run.Result<v1::MergeResult>().tensors(), 11u);
  const auto record = formats::ParseJson(run.FileContent("editd_merge.json"), "record");
  ASSERT_OK(record);
  EXPECT_EQ((*record)["method"], "linear");
  EXPECT_EQ((*record)["inputs"][1]["name"], "b");
  EXPECT_EQ((*record)["tensors"]["model.norm.weight"].dump(),
            R"({"from":[[0,"model.norm.weight"],[1,"model.norm.weight"]],"weights":[1.0,3.0]})");
  EXPECT_EQ(run.reply.attributes().at("vocab.tied"), "false");
}

TEST_F(MergeTest, AGradientRunsOverTheLayersAndAFilterPicksTensors) {
  Checkpoint a = Make(1), b = Make(2);
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(R"(method: METHOD_SLERP base: "a" models { input: "b" }
      parameters { t { filter: "layernorm" value: 0 } t { filter: "mlp" value: [0, 1] } t { value: 1 } })");
  ASSERT_EQ(run.error(), "");
  // Layer 0's matrix, all norms of layers: a's. Layer 3's, the rest: b's. None is stored.
  const auto same = [&](const std::string& name, const Checkpoint& of) {
    const editd::v1::OutputTensor* tensor = run.Tensor(name);
    Checkpoint copy = of;
    std::string bytes;
    for (const float value : copy.Find(name)->values) {
      const uint16_t bits = FloatToBFloat16(value);
      bytes.append(reinterpret_cast<const char*>(&bits), 2);
    }
    EXPECT_FALSE(tensor->is_new()) << name;
    EXPECT_EQ(tensor->id(), HashContent(ContentKind::Tensor(DType::kBF16, copy.Find(name)->shape), bytes).Hex())
        << name;
  };
  same("model.layers.0.mlp.up_proj.weight", a);
  same("model.layers.3.mlp.up_proj.weight", b);
  same("model.layers.2.input_layernorm.weight", a);
  same("model.embed_tokens.weight", b);
  EXPECT_TRUE(run.Tensor("model.layers.1.mlp.up_proj.weight")->is_new());
  EXPECT_EQ(run.Result<v1::MergeResult>().tensors_reused(), 9u);
}

TEST_F(MergeTest, TiesOfModelsThatHaveTheBasesTensorsStoresNothing) {
  const Checkpoint base = Make(1);
  Input("base", base);
  Input("a", base);
  Input("b", base);
  const PluginRun run =
      Run(R"(method: METHOD_TIES base: "base" parameters { weight { value: 1 } density { value: 0.5 } }
                               models { input: "a" } models { input: "b" })");
  ASSERT_EQ(run.error(), "");
  for (const auto& tensor : run.reply.tensors()) EXPECT_FALSE(tensor.is_new()) << tensor.name();
  EXPECT_EQ(run.reply.pack_file(), "");
}

TEST_F(MergeTest, AnotherTypeIsMadeAndConfigSaysSo) {
  Input("a", Make(1));
  Input("b", Make(2));
  const PluginRun run = Run(StrCat(kMean, R"( out_dtype: "F32")"));
  ASSERT_EQ(run.error(), "");
  for (const auto& tensor : run.reply.tensors()) EXPECT_EQ(tensor.dtype(), "F32") << tensor.name();
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr(R"("torch_dtype": "float32")"));
}

TEST_F(MergeTest, AHeadThatOnlySomeHaveBecomesOneOfItsOwn) {
  Checkpoint a = Make(1), b = Make(2);
  a.Remove("lm_head.weight");
  a.config = R"({"tie_word_embeddings": true})";
  Input("a", a);
  Input("b", b);
  ASSERT_THAT(Check(kMean), IsEmpty());
  const PluginRun run = Run(kMean);
  ASSERT_EQ(run.error(), "");
  const std::vector<float> head = Floats(run.TensorBytes("lm_head.weight"));
  const float x = a.Find("model.embed_tokens.weight")->values[7], y = b.Find("lm_head.weight")->values[7];
  EXPECT_EQ(head[7], BFloat16ToFloat(FloatToBFloat16((x + 3 * y) / 4)));
  EXPECT_THAT(run.FileContent("config.json"), HasSubstr(R"("tie_word_embeddings": false)"));
  EXPECT_EQ(run.reply.attributes().at("vocab.tied"), "false");
}

TEST_F(MergeTest, IntegersAreTheBases) {
  Checkpoint a = Make(1), b = Make(2);
  for (Checkpoint* c : {&a, &b}) c->tensors.push_back({"model.position_ids", {4}, {0, 1, 2, 3}, DType::kI32});
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(kMean);
  ASSERT_EQ(run.error(), "");
  EXPECT_FALSE(run.Tensor("model.position_ids")->is_new());
}

TEST_F(MergeTest, RandomMasksFollowTheSeedAlone) {
  Input("base", Make(1));
  Input("a", Make(2));
  Input("b", Make(3));
  const std::string spec =
      R"(method: METHOD_DARE_TIES base: "base" parameters { weight { value: 1 } density { value: 0.5 } }
                              models { input: "a" } models { input: "b" })";
  const PluginRun once = Run(spec);
  driver_.Threads(5);
  const PluginRun again = Run(spec);
  ASSERT_EQ(once.error(), "");
  ASSERT_EQ(once.reply.tensors_size(), again.reply.tensors_size());
  for (int i = 0; i < once.reply.tensors_size(); ++i)
    EXPECT_EQ(once.reply.tensors(i).id(), again.reply.tensors(i).id());
  EXPECT_EQ(once.reply.pack_id(), again.reply.pack_id());
}

TEST_F(MergeTest, AnInfiniteResultIsRefusedAndTheInputsNamed) {
  Checkpoint a = Make(1), b = Make(2);
  b.Find("model.norm.weight")->values[5] = std::numeric_limits<float>::infinity();
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(kMean);
  EXPECT_THAT(run.error(),
              AllOf(HasSubstr("tensor \"model.norm.weight\" would have inf at [5]"), HasSubstr("\"b\" has inf")));
  EXPECT_TRUE(run.reply.error().invalid_output());
}

// --- checks
// ----------------------------------------------------------------------------------------------------------------

TEST_F(MergeTest, EveryProblemOfASpecIsFoundAtOnce) {
  Input("base", Make(1));
  Input("math", Make(2));
  Input("vi", Make(3));
  EXPECT_THAT(Check(R"(method: METHOD_TIES base: "bse"
               models { input: "math" parameters { weight { value: 1 } density { value: 1.5 } t { value: 1 } } }
               models { input: "math" }
               models { input: "v" }
               parameters { density { filter: "mpl" value: 0.5 } lambda { filter: "mlp" } }
               out_dtype: "FP16")"),
              UnorderedElementsAre(HasSubstr("base: no input is named \"bse\"; did you mean \"base\"?"),
                                   HasSubstr("models[1].input: \"math\" is listed twice"),
                                   HasSubstr("models[2].input: no input is named \"v\""),
                                   HasSubstr("out_dtype: \"FP16\" is none of BF16, F16, F32"),
                                   HasSubstr("models[0].parameters.density[0].value[0]: 1.5 is out of range"),
                                   HasSubstr("models[0].parameters.t: the method ties has no such parameter"),
                                   HasSubstr("parameters.lambda[0].value: has no number"),
                                   HasSubstr("models: the job's input \"base\" takes no part"),
                                   HasSubstr("models: the job's input \"vi\" takes no part")))
      << "and no filter that is in no name: the names are not known";
  EXPECT_THAT(
      Check(R"(method: METHOD_TIES base: "base"
               models { input: "math" parameters { weight { value: 1 } density { value: 1.5 } t { value: 1 } } }
               parameters { density { filter: "mpl" value: 0.5 } density { value: [0.5, 0] } lambda { filter: "mlp" } })"),
      AllOf(Contains(HasSubstr(
                "models[0].parameters.density[0].value[0]: 1.5 is out of range; a density is above 0 and at most 1")),
            Contains(HasSubstr("models[0].parameters.t: the method ties has no such parameter")),
            Contains(HasSubstr("parameters.density[0].filter: \"mpl\" is in no tensor's name")),
            Contains(HasSubstr("parameters.density[1].value[1]: 0 is out of range")),
            Contains(HasSubstr("parameters.lambda[0].value: has no number")),
            Contains(HasSubstr("models: the job's input \"vi\" takes no part"))));
}

TEST_F(MergeTest, WhatFollowsFromAnotherProblemIsNotTold) {
  Input("a", Make(1));
  Input("b", Make(2));
  // The weights of the two that there are sum to zero, with the third they do not.
  EXPECT_THAT(Check(R"(method: METHOD_LINEAR models { input: "a" parameters { weight { value: 1 } } }
                       models { input: "b" parameters { weight { value: -1 } } }
                       models { input: "cc" parameters { weight { value: 1 } } })"),
              ElementsAre(HasSubstr("models[2].input: no input is named \"cc\"")));
  EXPECT_THAT(Check(R"(block_expansion { input: "d" blocks: 2 } out_dtype: "F64")"),
              UnorderedElementsAre(HasSubstr("block_expansion.input: no input is named \"d\""),
                                   HasSubstr("out_dtype: \"F64\" is none of")));
}

TEST_F(MergeTest, MethodsSayHowManyModelsTheyTake) {
  Input("base", Make(1));
  Input("a", Make(2));
  Input("b", Make(3));
  const std::string two = R"(base: "base" models { input: "a" } models { input: "b" })";
  EXPECT_THAT(Check("method: METHOD_SLERP " + two),
              Contains(HasSubstr("models: the method slerp takes exactly 1 besides the base; there are 2")));
  EXPECT_THAT(Check(R"(method: METHOD_MODEL_STOCK base: "base" models { input: "a" })"),
              Contains(HasSubstr("takes at least 2 besides the base; there is 1")));
  EXPECT_THAT(Check(R"(method: METHOD_SCE models { input: "a" } models { input: "b" })"),
              Contains(HasSubstr("base: is empty; the method sce takes differences from a base")));
  EXPECT_THAT(Check(R"(method: METHOD_MULTISLERP base: "a" models { input: "a" } models { input: "b" })"),
              Contains(HasSubstr("base: \"a\" is also listed")));
  EXPECT_THAT(Check("models { input: \"a\" }"), Contains(HasSubstr("method: is not set")));
  EXPECT_THAT(Check("method: METHOD_LINEAR"), Contains(HasSubstr("nothing is merged; give models, slices")));
}

TEST_F(MergeTest, NumbersThatAreWrongTogetherAreFound) {
  Input("base", Make(1));
  Input("a", Make(2));
  Input("b", Make(3));
  EXPECT_THAT(
      Check(
          R"(method: METHOD_LINEAR models { input: "base" parameters { weight { value: 1 } } } models { input: "a" parameters { weight { value: -1 } } }
                       models { input: "b" parameters { weight { filter: "mlp" value: 0 } } })"),
      AllOf(Contains(HasSubstr("models: the weights for tensor \"model.layers.0.mlp.up_proj.weight\" sum to")),
            Contains(HasSubstr("models[2].parameters.weight: \"b\" has no weight for tensor "
                               "\"model.embed_tokens.weight\" (and so 6 more)"))));
  EXPECT_THAT(
      Check(
          R"(method: METHOD_DELLA base: "base" parameters { weight { value: 1 } density { value: 0.9 } } models { input: "a" } models { input: "b" })"),
      Contains(HasSubstr("parameters.epsilon: density 0.9 with epsilon 0.15 for tensor")));
}

TEST_F(MergeTest, SlerpNeedsItsPlaceForEveryTensor) {
  Input("base", Make(1));
  Input("a", Make(2));
  EXPECT_THAT(Check(R"(method: METHOD_SLERP base: "base" models { input: "a" }
                       parameters { t { filter: "mlp" value: 0.5 } })"),
              ElementsAre(HasSubstr("parameters.t: is not set for tensor \"model.embed_tokens.weight\"; slerp needs it "
                                    "(and so 6 more)")));
}

TEST_F(MergeTest, ModelsThatDoNotFitAreFound) {
  Checkpoint other = Make(2);
  other.Remove("model.layers.3.mlp.up_proj.weight");
  other.tensors.push_back({"model.extra.bias", {3}, {1, 2, 3}});
  other.Find("model.norm.weight")->shape = {4, 4};
  Input("a", Make(1));
  Input("b", other);
  EXPECT_THAT(
      Check(kMean),
      AllOf(Contains(HasSubstr("models[1].input: \"b\" has no \"model.layers.3.mlp.up_proj.weight\", which \"a\" has")),
            Contains(HasSubstr("models[1].input: \"b\" has \"model.extra.bias\", which \"a\" has not"))));
  EXPECT_THAT(Check(StrCat(kMean, " missing: MISSING_SKIP")),
              ElementsAre(HasSubstr("models[1]: tensor \"model.norm.weight\" is [4, 4] in \"b\" and [16] in \"a\"")));
}

TEST_F(MergeTest, AModelThatLacksATensorTakesNoPartInItIfToldSo) {
  Checkpoint a = Make(1), b = Make(2);
  b.Remove("model.layers.3.mlp.up_proj.weight");
  Input("a", a);
  Input("b", b);
  const PluginRun run = Run(StrCat(kMean, " missing: MISSING_SKIP"));
  ASSERT_EQ(run.error(), "");
  EXPECT_FALSE(run.Tensor("model.layers.3.mlp.up_proj.weight")->is_new());
  EXPECT_TRUE(run.Tensor("model.layers.2.mlp.up_proj.weight")->is_new());
}

// --- slices

}  // namespace
}  // namespace editd::merge
