#include "plugins/lib/nn/config.h"

#include <nlohmann/json.hpp>

#include "storage/base/testing.h"

namespace editd::nn {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

Json Smol() {
  return Json{{"architectures", {"LlamaForCausalLM"}},
              {"vocab_size", 49152},
              {"hidden_size", 576},
              {"intermediate_size", 1536},
              {"num_hidden_layers", 30},
              {"num_attention_heads", 9},
              {"num_key_value_heads", 3},
              {"hidden_act", "silu"},
              {"rms_norm_eps", 1e-5},
              {"tie_word_embeddings", true},
              {"torch_dtype", "bfloat16"},
              {"eos_token_id", {2, 0}}};
}

Json With(Json config, const char* key, Json value) {
  config[key] = std::move(value);
  return config;
}

Json Gemma(const char* architecture) {
  return Json{{"architectures", {architecture}},
              {"vocab_size", 256000},
              {"hidden_size", 2304},
              {"intermediate_size", 9216},
              {"num_hidden_layers", 12},
              {"num_attention_heads", 8},
              {"num_key_value_heads", 4},
              {"hidden_activation", "gelu_pytorch_tanh"},
              {"head_dim", 256}};
}

TEST(DecoderConfig, BothSpellingsOfRopeGiveTheSame) {
  ASSERT_OK_AND_ASSIGN(const auto v4, ParseDecoderConfig(With(Smol(), "rope_theta", 100000).dump()));
  ASSERT_OK_AND_ASSIGN(
      const auto v5,
      ParseDecoderConfig(With(Smol(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 100000.0}}).dump()));
  EXPECT_EQ(v4.ropes[0].frequencies, v5.ropes[0].frequencies);
  EXPECT_EQ(v4.head_dim, 64);
  EXPECT_TRUE(v4.tied);
  EXPECT_EQ(v4.eos_token_ids, (std::vector<int64_t>{2, 0}));
  EXPECT_FLOAT_EQ(v4.ropes[0].frequencies[16], 0.0031622777f);
}

// Values of Llama 3.2 1B and 3.1 8B, computed in double precision.
TEST(DecoderConfig, Llama3FrequenciesBlend) {
  const auto frequencies = [](int head_dim, double factor) {
    Json scaling{{"rope_type", "llama3"},
                 {"factor", factor},
                 {"low_freq_factor", 1.0},
                 {"high_freq_factor", 4.0},
                 {"original_max_position_embeddings", 8192}};
    Json config = With(With(With(Smol(), "rope_scaling", scaling), "rope_theta", 500000.0), "head_dim", head_dim);
    return ParseDecoderConfig(config.dump()).value().ropes[0].frequencies;
  };
  const auto small = frequencies(64, 32);
  EXPECT_NEAR(small[1] / 0.663601238, 1, 1e-6);
  EXPECT_NEAR(small[14] / 0.00321144599, 1, 1e-6);
  EXPECT_NEAR(small[15] / 0.00129054793, 1, 1e-6);
  EXPECT_NEAR(small[18] / 1.94616382e-05, 1, 1e-6);
  EXPECT_NEAR(small[31] / 9.41830673e-08, 1, 1e-6);
  const auto large = frequencies(128, 8);
  EXPECT_NEAR(large[29] / 0.00216657076, 1, 1e-6);
  EXPECT_NEAR(large[35] / 9.55621235e-05, 1, 1e-6);
}

std::string Refusal(const Json& config) {
  const auto parsed = ParseDecoderConfig(config.dump());
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kUnimplemented) << parsed.status();
  return std::string(parsed.status().message());
}

TEST(DecoderConfig, WhatIsNotComputedIsRefusedByName) {
  EXPECT_THAT(Refusal(With(Smol(), "hidden_act", "gelu")), HasSubstr("\"hidden_act\": \"gelu\""));
  EXPECT_THAT(Refusal(With(Smol(), "sliding_window", 4096)), HasSubstr("sliding_window"));
  EXPECT_THAT(Refusal(With(Smol(), "architectures", {"RwkvForCausalLM"})), HasSubstr("RwkvForCausalLM"));
  EXPECT_THAT(Refusal(With(Smol(), "rope_scaling", {{"type", "longrope"}, {"factor", 4.0}})), HasSubstr("longrope"));
  EXPECT_THAT(Refusal(With(Smol(), "rope_scaling", {{"type", "linear"}, {"factor", 4.0}, {"mrope_section", {1, 2}}})),
              HasSubstr("rope_scaling.mrope_section"));
  EXPECT_THAT(Refusal(With(Smol(), "layer_types", Json(std::vector<std::string>(30, "chunked_attention")))),
              HasSubstr("chunked_attention"));
  for (const char* key : {"quantization_config", "num_experts", "attention_chunk_size", "no_rope_layers",
                          "attn_logit_softcapping", "query_pre_attn_scalar", "partial_rotary_factor", "logits_scaling",
                          "embedding_multiplier", "residual_multiplier", "attention_multiplier", "scale_emb"}) {
    EXPECT_THAT(Refusal(With(Smol(), key, 3)), HasSubstr(key));
  }
  for (const char* key : {"rope_interleaved", "use_qk_norm", "lm_head_bias", "use_parallel_residual"}) {
    EXPECT_THAT(Refusal(With(Smol(), key, true)), HasSubstr(key));
  }
  EXPECT_THAT(Refusal(With(Smol(), "is_causal", false)), HasSubstr("\"is_causal\": false"));
  EXPECT_THAT(Refusal(With(Gemma("Gemma3ForCausalLM"), "use_bidirectional_attention", true)),
              HasSubstr("use_bidirectional_attention"));
  EXPECT_THAT(Refusal(With(Gemma("Gemma3ForCausalLM"), "rope_parameters", {{"rope_theta", 1e4}})),
              HasSubstr("rope_parameters.rope_theta"));
  EXPECT_THAT(Refusal(With(Gemma("Gemma3ForCausalLM"), "rope_scaling",
                           {{"rope_type", "yarn"}, {"factor", 4.0}, {"truncate", false}})),
              HasSubstr("truncate"));
  EXPECT_THAT(Refusal(With(Gemma("Gemma3ForCausalLM"), "rope_scaling", {{"type", "linear"}, {"factor", 8.0}})),
              HasSubstr("\"rope_scaling.type\": \"linear\""));
}

// As files of SmolLM2 and others have it.
TEST(DecoderConfig, WhatOthersSayAndIsSoAnywayIsNoObstacle) {
  ASSERT_OK_AND_ASSIGN(const auto plain, ParseDecoderConfig(Smol().dump()));
  Json config = Smol();
  config.update({{"rope_interleaved", false},
                 {"is_llama_config", true},
                 {"is_causal", true},
                 {"pretraining_tp", 1},
                 {"attention_dropout", 0.0},
                 {"partial_rotary_factor", 1.0},
                 {"logits_scaling", 1},
                 {"embedding_multiplier", 1.0},
                 {"num_experts", 0},
                 {"quantization_config", nullptr},
                 {"layer_types", std::vector<std::string>(30, "full_attention")}});
  ASSERT_OK_AND_ASSIGN(const auto same, ParseDecoderConfig(config.dump()));
  EXPECT_EQ(same.ropes, plain.ropes);
  EXPECT_EQ(same.query_scale, plain.query_scale);
  EXPECT_EQ(same.embedding_scale, 1);
}

TEST(DecoderConfig, SizesThatAFileLeavesOutAreTheFamilys) {
  const auto sizes = [](const char* architecture) {
    const auto c = ParseDecoderConfig(Json{{"architectures", {architecture}}}.dump());
    EXPECT_OK(c.status());
    return std::vector<int64_t>{c->vocab_size, c->hidden_size, c->intermediate_size, c->layers,
                                c->heads,      c->kv_heads,    c->head_dim,          c->max_position_embeddings};
  };
  EXPECT_THAT(sizes("LlamaForCausalLM"), ElementsAre(32000, 4096, 11008, 32, 32, 32, 128, 2048));
  EXPECT_THAT(sizes("MistralForCausalLM"), ElementsAre(32000, 4096, 14336, 32, 32, 8, 128, 131072));
  EXPECT_THAT(sizes("Qwen2ForCausalLM"), ElementsAre(151936, 4096, 22016, 32, 32, 32, 128, 32768));
  EXPECT_THAT(sizes("Qwen3ForCausalLM"), ElementsAre(151936, 4096, 22016, 32, 32, 32, 128, 32768));
  EXPECT_THAT(sizes("Gemma2ForCausalLM"), ElementsAre(256000, 2304, 9216, 26, 8, 4, 256, 8192));
  EXPECT_THAT(sizes("Gemma3ForCausalLM"), ElementsAre(262208, 2304, 9216, 26, 8, 4, 256, 131072));
}

TEST(DecoderConfig, QwensWindowCountsOnlyWhenUsed) {
  Json config = With(With(Smol(), "architectures", {"Qwen2ForCausalLM"}), "sliding_window", 32);
  config["max_window_layers"] = 20;
  ASSERT_OK_AND_ASSIGN(const auto unused, ParseDecoderConfig(With(config, "use_sliding_window", false).dump()));
  EXPECT_TRUE(unused.qkv_bias);
  EXPECT_FALSE(unused.output_bias);
  for (const auto& layer : unused.attention) EXPECT_EQ(layer.window, 0);
  ASSERT_OK_AND_ASSIGN(const auto used, ParseDecoderConfig(With(config, "use_sliding_window", true).dump()));
  for (int i = 0; i < 30; ++i) EXPECT_EQ(used.attention[i].window, i < 20 ? 0 : 32);
}

// A key that is absent has the class's default; null is a statement.
TEST(DecoderConfig, AMistralThatIsSilentHasAWindow) {
  const Json config = With(Smol(), "architectures", {"MistralForCausalLM"});
  EXPECT_EQ(ParseDecoderConfig(config.dump()).status().code(), absl::StatusCode::kOk);
  EXPECT_EQ(ParseDecoderConfig(config.dump())->attention[0].window, 4096);
  EXPECT_EQ(ParseDecoderConfig(With(config, "sliding_window", nullptr).dump())->attention[0].window, 0);
  EXPECT_EQ(ParseDecoderConfig(With(config, "sliding_window", 7).dump())->attention[29].window, 7);
  EXPECT_THAT(Refusal(With(config, "layer_types", Json(std::vector<std::string>(30, "full_attention")))),
              HasSubstr("layer_types"));
}

TEST(DecoderConfig, GemmasAlternate) {
  ASSERT_OK_AND_ASSIGN(const auto second, ParseDecoderConfig(Gemma("Gemma2ForCausalLM").dump()));
  EXPECT_EQ(second.attention[0].window, 4096);
  EXPECT_EQ(second.attention[1].window, 0);
  EXPECT_EQ(second.attention_cap, 50);
  EXPECT_EQ(second.logit_cap, 30);
  EXPECT_EQ(second.query_scale, 1.0 / 16);
  EXPECT_TRUE(second.tied);
  ASSERT_OK_AND_ASSIGN(const auto uncapped,
                       ParseDecoderConfig(With(Gemma("Gemma2ForCausalLM"), "attn_logit_softcapping", nullptr).dump()));
  EXPECT_EQ(uncapped.attention_cap, 0);

  Json third = With(Gemma("Gemma3ForCausalLM"), "rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}});
  ASSERT_OK_AND_ASSIGN(const auto config, ParseDecoderConfig(third.dump()));
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(config.attention[i].window, i % 6 == 5 ? 0 : 4096);
    EXPECT_EQ(config.attention[i].rope, i % 6 == 5 ? 0 : 1);
  }
  EXPECT_FLOAT_EQ(config.ropes[0].frequencies[64], 1e-3f / 8);
  EXPECT_FLOAT_EQ(config.ropes[1].frequencies[64], 1e-2f);
  const Json nested = {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}},
                       {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}};
  ASSERT_OK_AND_ASSIGN(const auto v5,
                       ParseDecoderConfig(With(Gemma("Gemma3ForCausalLM"), "rope_parameters", nested).dump()));
  EXPECT_EQ(v5.ropes, config.ropes);
  // Files of models that also see nest it, and leave out what is the default.
  const Json seeing = {
      {"architectures", {"Gemma3ForConditionalGeneration"}},
      {"eos_token_id", {1, 106}},
      {"vision_config", {{"hidden_size", 1152}}},
      {"text_config", {{"model_type", "gemma3_text"}, {"hidden_size", 2560}, {"sliding_window", 1024}}}};
  ASSERT_OK_AND_ASSIGN(const auto part, ParseDecoderConfig(seeing.dump()));
  EXPECT_TRUE(part.language_part);
  EXPECT_EQ(part.head_dim, 256);
  EXPECT_EQ(part.vocab_size, 262208);
  EXPECT_EQ(part.attention[0].window, 1024);
  EXPECT_EQ(part.eos_token_ids, (std::vector<int64_t>{1, 106}));
  // Whether the head is the embedding is said of the whole model.
  const auto tied = [&](const Json& whole, const Json& text) {
    Json config = seeing;
    config["text_config"].update(text);
    config.update(whole);
    return ParseDecoderConfig(config.dump()).value().tied;
  };
  const Json yes = {{"tie_word_embeddings", true}}, no = {{"tie_word_embeddings", false}};
  EXPECT_TRUE(tied(Json::object(), Json::object()));
  EXPECT_TRUE(tied(Json::object(), no));
  EXPECT_FALSE(tied(no, yes));
  Json capped = seeing;
  capped["text_config"]["final_logit_softcapping"] = 30.0;
  EXPECT_THAT(Refusal(capped), HasSubstr("final_logit_softcapping"));
}

TEST(DecoderConfig, NonsenseIsAnError) {
  EXPECT_THAT(ParseDecoderConfig("[1]"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a JSON object")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "hidden_size", "wide").dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hidden_size")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "num_key_value_heads", 4).dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("num_key_value_heads")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "vocab_size", -1).dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("vocab_size")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "tie_word_embeddings", nullptr).dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tie_word_embeddings")));
}

}  // namespace
}  // namespace editd::nn
