#include "plugins/lib/formats/adapter.h"

#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

absl::StatusOr<AdapterConfig> Read(const std::string& json) { return ReadAdapterConfig(json, "c"); }

TEST(AdapterConfig, TheFirstPatternThatMatchesCounts) {
  ASSERT_OK_AND_ASSIGN(const AdapterConfig config, Read(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 6,
      "rank_pattern": {"q_proj": 7, "layers\\.1\\..*": 2},
      "alpha_pattern": {"^model.layers.1.mlp.up_proj": 20, ".*_proj": 10, "up_proj": 30}})"));
  EXPECT_EQ(ScaleOf(config, "model.layers.0.self_attn.q_proj").rank, 7);
  EXPECT_EQ(ScaleOf(config, "model.layers.1.self_attn.q_proj").rank, 7);
  EXPECT_EQ(ScaleOf(config, "model.layers.1.mlp.up_proj").rank, 2);
  EXPECT_EQ(ScaleOf(config, "model.layers.1.mlp.up_proj").alpha, 20);
  EXPECT_EQ(ScaleOf(config, "model.layers.0.mlp.up_proj").alpha, 10);
  EXPECT_EQ(ScaleOf(config, "lm_head").alpha, 6);
  EXPECT_EQ(ScaleOf(config, "lm_head").scale, 1.5);
  EXPECT_EQ(ScaleOf(config, "x.my_q_proj").rank, 4) << "a key stands for whole parts of the path";
}

TEST(AdapterConfig, RankStabilizedScale) {
  ASSERT_OK_AND_ASSIGN(const AdapterConfig config,
                       Read(R"({"peft_type": "LORA", "r": 16, "lora_alpha": 8, "use_rslora": true})"));
  EXPECT_EQ(ScaleOf(config, "q_proj").scale, 2);
}

TEST(AdapterConfig, WhatIsNotFollowedIsRefusedByNameAllAtOnce) {
  EXPECT_THAT(Read(R"({"peft_type": "IA3"})").status().message(), HasSubstr("peft_type IA3 is not supported"));
  EXPECT_THAT(Read(R"({"r": 3})").status().message(), HasSubstr("is it a PEFT adapter"));
  EXPECT_THAT(Read("[]").status().message(), HasSubstr("no JSON object"));
  const auto read = Read(R"json({"peft_type": "LORA", "lora_bias": true, "use_qalora": true, "qalora_group_size": 16,
      "alora_invocation_tokens": [1], "target_parameters": ["x"], "layer_replication": [[0, 4]], "use_zlora": 3,
      "bias": "some", "rank_pattern": {"(?=x)": 3}, "lora_alpha": "8", "init_lora_weights": "pissa_niter_4",
      "trainable_token_indices": [-1]})json");
  EXPECT_THAT(read.status().message(),
              AllOf(HasSubstr("\"lora_bias\""), HasSubstr("\"use_qalora\""), HasSubstr("\"alora_invocation_tokens\""),
                    HasSubstr("\"target_parameters\""), HasSubstr("\"layer_replication\""),
                    HasSubstr("\"use_zlora\" is not known"), HasSubstr("bias is \"some\"")));
  EXPECT_THAT(read.status().message(),
              AllOf(HasSubstr("rank_pattern[\"(?=x)\"] is no pattern"), HasSubstr("\"lora_alpha\" is no number"),
                    HasSubstr("\"pissa_niter_4\", which changes the base"), HasSubstr("-1, which is no token id")));
}

TEST(AdapterConfig, KeysThatAreNotUsedAreLetBy) {
  EXPECT_OK(Read(R"({"peft_type": "LORA", "use_dora": false, "kasa_config": null, "use_new": false, "newer": {},
      "eva_config": {"rho": 2}, "init_lora_weights": "eva", "loftq_config": {"bits": 4}, "lora_dropout": 0.1})"));
}

TEST(AdapterConfig, WhatIsWrittenReadsBack) {
  AdapterConfigText text;
  text.base_model = "tiny";
  text.rank = 8;
  text.alpha = 8;
  text.rank_pattern = {{"model.layers.0.mlp.up_proj", 3}};
  text.targets = {"up_proj"};
  text.saved = {"lm_head"};
  ASSERT_OK_AND_ASSIGN(const AdapterConfig config, Read(WriteAdapterConfig(text)));
  EXPECT_EQ(config.base_model, "tiny");
  EXPECT_EQ(ScaleOf(config, "model.layers.0.mlp.up_proj").rank, 3);
  EXPECT_EQ(ScaleOf(config, "model.layers.0.mlp.up_proj").scale, 1);
  EXPECT_EQ(ScaleOf(config, "modelxlayers.0.mlp.up_proj").rank, 8) << "dots are dots";
}

AdapterLayout LayOut(const std::vector<AdapterTensor>& tensors, std::vector<std::string>* problems) {
  return LayOutAdapter(tensors, problems);
}

TEST(AdapterLayout, EachTensorHasItsPlace) {
  std::vector<std::string> problems;
  const AdapterLayout layout = LayOut({{"base_model.model.m.q_proj.lora_B.default.weight", {6, 2}},
                                       {"base_model.model.m.q_proj.lora_A.default.weight", {2, 4}},
                                       {"base_model.model.m.embed_tokens.lora_embedding_A", {3, 40}},
                                       {"base_model.model.m.embed_tokens.lora_embedding_B", {8, 3}},
                                       {"base_model.model.m.embed_tokens.base_layer.weight", {40, 8}},
                                       {"base_model.model.lm_head.modules_to_save.default.weight", {40, 8}},
                                       {"base_model.model.m.q_proj.base_layer.bias", {6}},
                                       {"base_model.model.m.e.token_adapter.trainable_tokens_delta", {2, 8}}},
                                      &problems);
  EXPECT_THAT(problems, IsEmpty());
  ASSERT_EQ(layout.modules.size(), 2u);
  EXPECT_TRUE(layout.modules[0].embedding);
  EXPECT_EQ(layout.modules[0].inputs, 40);
  EXPECT_EQ(layout.modules[1].a, 1u);
  EXPECT_EQ(layout.modules[1].outputs, 6);
  ASSERT_EQ(layout.saved.size(), 3u);
  EXPECT_EQ(layout.saved[0].target, "lm_head.weight");
  EXPECT_EQ(layout.saved[1].target, "m.embed_tokens.weight");
  EXPECT_EQ(layout.saved[2].target, "m.q_proj.bias");
  EXPECT_EQ(layout.rows[0].module, "m.e");
}

TEST(AdapterLayout, WhatDoesNotFitIsNamed) {
  std::vector<std::string> problems;
  LayOut({{"q_proj.lora_A.weight", {2, 4}},
          {"base_model.model.a.lora_A.weight", {2, 4}},
          {"base_model.model.b.lora_A.weight", {2, 4}},
          {"base_model.model.b.lora_B.weight", {6, 3}},
          {"base_model.model.c.lora_diag", {2}}},
         &problems);
  EXPECT_THAT(problems, ElementsAre(HasSubstr("\"q_proj.lora_A.weight\" is none of PEFT's"),
                                    HasSubstr("\"base_model.model.c.lora_diag\" has a part that is not known"),
                                    HasSubstr("module \"a\" has no B"),
                                    HasSubstr("module \"b\": A [2, 4] and B [6, 3] do not multiply")));
}

TEST(AdapterLayout, ConfigurationAndTensorsMustAgree) {
  const std::vector<AdapterTensor> tensors = {{"base_model.model.q.lora_A.weight", {2, 4}},
                                              {"base_model.model.q.lora_B.weight", {6, 2}},
                                              {"base_model.model.e.token_adapter.trainable_tokens_delta", {2, 8}}};
  std::vector<std::string> problems;
  const AdapterLayout layout = LayOut(tensors, &problems);
  ASSERT_OK_AND_ASSIGN(const AdapterConfig config,
                       Read(R"({"peft_type": "LORA", "r": 4, "use_dora": true, "trainable_token_indices": [5]})"));
  CheckAdapterConfig(config, tensors, layout, &problems);
  EXPECT_THAT(problems, ElementsAre(HasSubstr("has rank 2, the configuration says 4"),
                                    HasSubstr("no lora_magnitude_vector, but use_dora is set"),
                                    HasSubstr("trained rows [2, 8]; trainable_token_indices names 1")));
}

TEST(AdapterLayout, AVersionTellsWhatItIs) {
  const std::vector<AdapterTensor> tensors = {{"base_model.model.layers.0.q.lora_A.weight", {2, 4}},
                                              {"base_model.model.layers.0.q.lora_B.weight", {6, 2}},
                                              {"base_model.model.layers.1.q.lora_A.weight", {2, 4}},
                                              {"base_model.model.layers.1.q.lora_B.weight", {6, 2}},
                                              {"base_model.model.lm_head.weight", {9, 4}}};
  std::vector<std::string> problems;
  const AdapterLayout layout = LayOut(tensors, &problems);
  ASSERT_OK_AND_ASSIGN(const AdapterConfig config, Read(R"({"peft_type": "LORA", "r": 2, "lora_alpha": 3,
      "base_model_name_or_path": "tiny"})"));
  auto attributes = DescribeAdapter(config, layout);
  EXPECT_EQ(attributes["kind"], "adapter");
  EXPECT_EQ(attributes["adapter.rank"], "2");
  EXPECT_EQ(attributes["adapter.alpha"], "3");
  EXPECT_EQ(attributes["adapter.targets"], "q");
  EXPECT_EQ(attributes["adapter.needs"], "q 6 x 4");
  EXPECT_EQ(attributes["adapter.saved"], "lm_head");
  EXPECT_EQ(attributes["adapter.base"], "tiny");
}

}  // namespace
}  // namespace editd::formats
