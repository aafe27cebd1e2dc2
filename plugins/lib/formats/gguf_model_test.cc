#include "plugins/lib/formats/gguf_model.h"

#include <cmath>
#include <numbers>

#include "plugins/lib/formats/gguf_testing.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<float> Counting(int64_t count) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(i);
  return values;
}

// One layer, two heads of four, one of them for keys and values; 6 tokens.
GgufWriter Model(const std::string& arch, const std::vector<std::string>& without = {}, bool bias = false,
                 uint32_t head = 4) {
  GgufWriter writer;
  writer.String("general.architecture", arch)
      .U32(arch + ".block_count", 1)
      .U32(arch + ".embedding_length", 8)
      .U32(arch + ".feed_forward_length", 16)
      .U32(arch + ".context_length", 64)
      .U32(arch + ".attention.head_count", 2)
      .U32(arch + ".attention.head_count_kv", 1)
      .U32(arch + ".attention.key_length", head)
      .U32(arch + ".attention.value_length", head)
      .F32(arch + ".rope.freq_base", 500000)
      .F32(arch + ".attention.layer_norm_rms_epsilon", 1e-5f);
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    if (std::find(without.begin(), without.end(), name) != without.end()) return;
    int64_t count = 1;
    for (const int64_t dimension : shape) count *= dimension;
    writer.Floats(name, shape, Counting(count));
  };
  add("token_embd.weight", {6, 8});
  add("output_norm.weight", {8});
  add("blk.0.attn_norm.weight", {8});
  add("blk.0.ffn_norm.weight", {8});
  add("blk.0.attn_q.weight", {2 * head, 8});
  add("blk.0.attn_k.weight", {head, 8});
  add("blk.0.attn_v.weight", {head, 8});
  add("blk.0.attn_output.weight", {8, 2 * head});
  add("blk.0.ffn_gate.weight", {16, 8});
  add("blk.0.ffn_up.weight", {16, 8});
  add("blk.0.ffn_down.weight", {8, 16});
  if (bias) {
    add("blk.0.attn_q.bias", {8});
    add("blk.0.attn_k.bias", {4});
    add("blk.0.attn_v.bias", {4});
  }
  return writer;
}

const GgufSource& Find(const GgufModel& model, std::string_view name) {
  for (const GgufSource& source : model.tensors) {
    if (source.name == name) return source;
  }
  ADD_FAILURE() << "no tensor " << name;
  return model.tensors[0];
}

std::string ErrorOf(const std::string& file) {
  const GgufFile gguf = *ReadGguf(file, "m.gguf");
  const auto model = ConvertGgufModel(gguf, "m.gguf");
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(model.status().message());
}

TEST(GgufModel, LlamaHasItsConfigurationAndNames) {
  const std::string file = Model("llama").Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(file, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model, ConvertGgufModel(gguf, "m"));
  EXPECT_EQ(model.architecture, "LlamaForCausalLM");
  EXPECT_TRUE(model.tied);
  EXPECT_EQ(model.rows, 6);
  EXPECT_EQ(model.tensors.size(), 11u);
  EXPECT_EQ(model.config["model_type"], "llama");
  EXPECT_EQ(model.config["vocab_size"], 6);
  EXPECT_EQ(model.config["head_dim"], 4);
  EXPECT_EQ(model.config["num_key_value_heads"], 1);
  EXPECT_EQ(model.config["rms_norm_eps"], 1e-5);
  EXPECT_EQ(model.config["rope_theta"], 500000.0);
  EXPECT_EQ(model.config["rope_scaling"], nullptr);
  EXPECT_EQ(model.config["tie_word_embeddings"], true);
  EXPECT_EQ(model.config["attention_bias"], false);
}

// By the definition of llama.cpp's converter: reshape(heads, 2, size/2).swapaxes(1, 2), undone.
TEST(GgufModel, QueryAndKeyRowsOfLlamaGoBackToTheirPlaces) {
  const std::string file = Model("llama").Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(file, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model, ConvertGgufModel(gguf, "m"));
  const auto rows = [](const GgufSource& source) {
    std::vector<int64_t> out;
    for (int64_t row = 0; row < source.Rows(); ++row) out.push_back(source.SourceRow(row));
    return out;
  };
  EXPECT_THAT(rows(Find(model, "model.layers.0.self_attn.q_proj.weight")), ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_THAT(rows(Find(model, "model.layers.0.self_attn.k_proj.weight")), ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(rows(Find(model, "model.layers.0.self_attn.v_proj.weight")), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(rows(Find(model, "model.norm.weight")), ElementsAre(0));
}

TEST(GgufModel, QwensKeepTheirRowsAndHaveTheirBiasesAndNorms) {
  const std::string file = Model("qwen2", {}, /*bias=*/true).Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(file, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model, ConvertGgufModel(gguf, "m"));
  EXPECT_EQ(model.architecture, "Qwen2ForCausalLM");
  EXPECT_EQ(Find(model, "model.layers.0.self_attn.q_proj.weight").SourceRow(1), 1);
  EXPECT_THAT(Find(model, "model.layers.0.self_attn.k_proj.bias").shape, ElementsAre(4));
  EXPECT_EQ(Find(model, "model.layers.0.self_attn.q_proj.bias").Rows(), 1);

  const std::string third = Model("qwen3")
                                .Floats("blk.0.attn_q_norm.weight", {4}, Counting(4))
                                .Floats("blk.0.attn_k_norm.weight", {4}, Counting(4))
                                .Floats("output.weight", {6, 8}, Counting(48))
                                .Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf3, ReadGguf(third, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model3, ConvertGgufModel(gguf3, "m"));
  EXPECT_EQ(model3.architecture, "Qwen3ForCausalLM");
  EXPECT_FALSE(model3.tied);
  EXPECT_EQ(model3.config["tie_word_embeddings"], false);
  EXPECT_THAT(Find(model3, "model.layers.0.self_attn.q_norm.weight").shape, ElementsAre(4));
  EXPECT_THAT(Find(model3, "lm_head.weight").shape, ElementsAre(6, 8));
}

TEST(GgufModel, BiasesOfLlamaAreReorderedToo) {
  GgufWriter writer = Model("llama", {}, /*bias=*/true);
  writer.Floats("blk.0.attn_output.bias", {8}, Counting(8));
  const std::string file = writer.Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(file, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model, ConvertGgufModel(gguf, "m"));
  EXPECT_EQ(model.config["attention_bias"], true);
  const GgufSource& bias = Find(model, "model.layers.0.self_attn.q_proj.bias");
  EXPECT_EQ(bias.Rows(), 8);
  EXPECT_EQ(bias.Width(), 1);
  EXPECT_EQ(bias.SourceRow(1), 2);
}

// Llama 3.2 1B: heads of 64, theta 500000, factor 32. Frequencies 0..14 stay, 18..31 are divided, 15..17 are blended.
TEST(GgufModel, Llama3ScalingIsFoundFromItsDivisors) {
  const auto scaling_of = [](const std::vector<float>& divisors) -> absl::StatusOr<Json> {
    const int64_t count = static_cast<int64_t>(divisors.size());
    const std::string file = Model("llama", {}, false, 64).Floats("rope_freqs.weight", {count}, divisors).Build();
    ASSIGN_OR_RETURN(const GgufFile gguf, ReadGguf(file, "m"));
    ASSIGN_OR_RETURN(GgufModel model, ConvertGgufModel(gguf, "m"));
    return model.config["rope_scaling"];
  };
  std::vector<float> divisors(32, 1.0f);
  for (int i = 15; i < 32; ++i) {
    const double waves = 8192 * std::pow(500000.0, -i / 32.0) / (2 * std::numbers::pi), smooth = (waves - 1) / 3;
    divisors[i] = i < 18 ? static_cast<float>(1 / ((1 - smooth) / 32 + smooth)) : 32.0f;
  }
  EXPECT_NEAR(std::pow(500000.0, -15 / 32.0) / divisors[15], 0.00129054793, 1e-9);
  ASSERT_OK_AND_ASSIGN(const Json scaling, scaling_of(divisors));
  EXPECT_EQ(scaling["rope_type"], "llama3");
  EXPECT_EQ(scaling["factor"], 32.0);
  EXPECT_EQ(scaling["original_max_position_embeddings"], 8192);
  EXPECT_EQ(*scaling_of(std::vector<float>(32, 1.0f)), nullptr);
  divisors[16] *= 1.01f;
  EXPECT_THAT(scaling_of(divisors), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("rope_freqs.weight")));
  EXPECT_THAT(scaling_of({1, 1, 1}), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("3 elements")));
}

GgufWriter Gemma(const std::string& arch) {
  GgufWriter writer = Model(arch);
  writer.Floats("blk.0.post_attention_norm.weight", {8}, Counting(8));
  writer.Floats("blk.0.post_ffw_norm.weight", {8}, Counting(8));
  if (arch == "gemma3") {
    writer.Floats("blk.0.attn_q_norm.weight", {4}, Counting(4));
    writer.Floats("blk.0.attn_k_norm.weight", {4}, Counting(4));
  }
  return writer;
}

TEST(GgufModel, GemmasHaveTheirNormsAndLocalLayers) {
  const std::string second = Gemma("gemma2").F32("gemma2.attn_logit_softcapping", 40).Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(second, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model, ConvertGgufModel(gguf, "m"));
  EXPECT_EQ(model.architecture, "Gemma2ForCausalLM");
  EXPECT_TRUE(model.tied);
  EXPECT_EQ(Find(model, "model.layers.0.pre_feedforward_layernorm.weight").tensor->name, "blk.0.ffn_norm.weight");
  EXPECT_EQ(Find(model, "model.layers.0.post_attention_layernorm.weight").tensor->name,
            "blk.0.post_attention_norm.weight");
  EXPECT_EQ(Find(model, "model.layers.0.post_feedforward_layernorm.weight").tensor->name, "blk.0.post_ffw_norm.weight");
  EXPECT_EQ(Find(model, "model.norm.weight").surplus, 1);
  EXPECT_EQ(Find(model, "model.layers.0.self_attn.q_proj.weight").surplus, 0);
  EXPECT_EQ(model.config["attn_logit_softcapping"], 40.0);
  EXPECT_EQ(model.config["final_logit_softcapping"], 30.0);
  EXPECT_EQ(model.config["query_pre_attn_scalar"], 4);
  EXPECT_EQ(model.config["sliding_window"], 4096);
  EXPECT_EQ(model.config["layer_types"], Json::array({"sliding_attention"}));
  EXPECT_EQ(model.config["hidden_activation"], "gelu_pytorch_tanh");
  EXPECT_FALSE(model.config.contains("hidden_act"));

  // Without a window a Gemma 3 has no local layers.
  const std::string third = Gemma("gemma3").Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf3, ReadGguf(third, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model3, ConvertGgufModel(gguf3, "m"));
  EXPECT_EQ(model3.architecture, "Gemma3ForCausalLM");
  EXPECT_EQ(model3.config["model_type"], "gemma3_text");
  EXPECT_EQ(model3.config["layer_types"], Json::array({"full_attention"}));
  EXPECT_EQ(model3.config["sliding_window"], nullptr);
  EXPECT_EQ(model3.config["rope_local_base_freq"], 10000.0);
  EXPECT_EQ(model3.config["final_logit_softcapping"], nullptr);
  EXPECT_EQ(Find(model3, "model.layers.0.self_attn.q_norm.weight").surplus, 1);

  EXPECT_THAT(ErrorOf(Gemma("gemma3").F32("gemma3.attn_logit_softcapping", 50).Build()),
              HasSubstr("attn_logit_softcapping"));
  EXPECT_THAT(ErrorOf(Gemma("gemma3").U32("gemma3.attention.sliding_window_pattern", 4).Build()),
              HasSubstr("sliding_window_pattern\" is not 6"));
  EXPECT_THAT(ErrorOf(Gemma("gemma2").F32("gemma2.rope.freq_base_swa", 100).Build()), HasSubstr("freq_base_swa"));
  EXPECT_THAT(ErrorOf(Model("gemma2").Build()), HasSubstr("lacks the tensor \"blk.0.post_attention_norm.weight\""));
}

TEST(GgufModel, YarnHasItsSettings) {
  const std::string file = Model("qwen3")
                               .Floats("blk.0.attn_q_norm.weight", {4}, Counting(4))
                               .Floats("blk.0.attn_k_norm.weight", {4}, Counting(4))
                               .String("qwen3.rope.scaling.type", "yarn")
                               .F32("qwen3.rope.scaling.factor", 4)
                               .U32("qwen3.rope.scaling.original_context_length", 32768)
                               .F32("qwen3.rope.scaling.yarn_attn_factor", 1.1f)
                               .F32("qwen3.rope.scaling.yarn_beta_fast", 16)
                               .Build();
  ASSERT_OK_AND_ASSIGN(const GgufFile gguf, ReadGguf(file, "m"));
  ASSERT_OK_AND_ASSIGN(const GgufModel model, ConvertGgufModel(gguf, "m"));
  EXPECT_EQ(model.config["rope_scaling"], (Json{{"rope_type", "yarn"},
                                                {"factor", 4.0},
                                                {"original_max_position_embeddings", 32768},
                                                {"attention_factor", 1.1},
                                                {"beta_fast", 16.0}}));
}

TEST(GgufModel, RefusesByNameWhatItDoesNotUnderstand) {
  EXPECT_THAT(ErrorOf(Model("gemma").Build()),
              HasSubstr("architecture \"gemma\" in GGUF is not supported yet; import the Hugging Face folder instead"));
  EXPECT_THAT(ErrorOf(GgufWriter().U32("x", 1).Build()), HasSubstr("lacks the key \"general.architecture\""));
  EXPECT_THAT(ErrorOf(Model("llama", {"blk.0.ffn_up.weight"}).Build()),
              HasSubstr("lacks the tensor \"blk.0.ffn_up.weight\""));
  EXPECT_THAT(ErrorOf(Model("llama", {"token_embd.weight"}).Build()), HasSubstr("token_embd.weight"));
  EXPECT_THAT(ErrorOf(Model("qwen2").Build()), HasSubstr("lacks the tensor \"blk.0.attn_q.bias\""));
  EXPECT_THAT(ErrorOf(Model("llama").Floats("blk.0.extra.weight", {8}, Counting(8)).Build()),
              HasSubstr("\"blk.0.extra.weight\" has no place"));
  EXPECT_THAT(
      ErrorOf(Model("llama", {"blk.0.attn_k.weight"}).Floats("blk.0.attn_k.weight", {8, 8}, Counting(64)).Build()),
      HasSubstr("\"blk.0.attn_k.weight\" is 8 x 8, the configuration makes it 4 x 8"));
  EXPECT_THAT(ErrorOf(Model("llama").U32("split.count", 3).Build()), HasSubstr("is one of 3 parts"));
  EXPECT_THAT(ErrorOf(Model("llama").U32("llama.expert_count", 8).Build()), HasSubstr("llama.expert_count"));
  EXPECT_THAT(ErrorOf(Model("llama").U32("llama.rope.dimension_count", 2).Build()), HasSubstr("2 rotated"));
  EXPECT_THAT(ErrorOf(Model("llama").String("llama.rope.scaling.type", "longrope").Build()), HasSubstr("longrope"));
}

}  // namespace
}  // namespace editd::formats
