#include "plugins/lib/nn/config.h"

#include <nlohmann/json.hpp>

#include "storage/base/testing.h"

namespace editd::nn {
namespace {

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

TEST(DecoderConfig, BothSpellingsOfRopeGiveTheSame) {
  ASSERT_OK_AND_ASSIGN(const auto v4, ParseDecoderConfig(With(Smol(), "rope_theta", 100000).dump()));
  ASSERT_OK_AND_ASSIGN(
      const auto v5,
      ParseDecoderConfig(With(Smol(), "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 100000.0}}).dump()));
  EXPECT_EQ(v4.inv_frequencies, v5.inv_frequencies);
  EXPECT_EQ(v4.head_dim, 64);
  EXPECT_TRUE(v4.tied);
  EXPECT_EQ(v4.eos_token_ids, (std::vector<int64_t>{2, 0}));
  EXPECT_FLOAT_EQ(v4.inv_frequencies[16], 0.0031622777f);
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
    return ParseDecoderConfig(config.dump()).value().inv_frequencies;
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

TEST(DecoderConfig, WhatIsNotComputedIsRefusedByName) {
  const auto refusal = [](const Json& config) {
    const auto parsed = ParseDecoderConfig(config.dump());
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kUnimplemented) << parsed.status();
    return std::string(parsed.status().message());
  };
  EXPECT_THAT(refusal(With(Smol(), "hidden_act", "gelu")), HasSubstr("\"hidden_act\": \"gelu\""));
  EXPECT_THAT(refusal(With(Smol(), "sliding_window", 4096)), HasSubstr("sliding_window"));
  EXPECT_THAT(refusal(With(Smol(), "architectures", {"RwkvForCausalLM"})), HasSubstr("RwkvForCausalLM"));
  EXPECT_THAT(refusal(With(Smol(), "rope_scaling", {{"type", "yarn"}, {"factor", 4.0}})), HasSubstr("yarn"));
  EXPECT_THAT(refusal(With(Smol(), "quantization_config", {{"bits", 4}})), HasSubstr("quantization_config"));
  EXPECT_THAT(refusal(With(Smol(), "layer_types", {"full_attention", "sliding_attention"})),
              HasSubstr("sliding_attention"));
}

TEST(DecoderConfig, QwensWindowCountsOnlyWhenUsed) {
  Json config = With(With(Smol(), "architectures", {"Qwen2ForCausalLM"}), "sliding_window", 32768);
  ASSERT_OK_AND_ASSIGN(const auto parsed, ParseDecoderConfig(With(config, "use_sliding_window", false).dump()));
  EXPECT_TRUE(parsed.qkv_bias);
  EXPECT_FALSE(parsed.output_bias);
  EXPECT_THAT(ParseDecoderConfig(With(config, "use_sliding_window", true).dump()),
              StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("sliding_window")));
}

TEST(DecoderConfig, NonsenseIsAnError) {
  EXPECT_THAT(ParseDecoderConfig("[1]"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a JSON object")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "hidden_size", "wide").dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("hidden_size")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "num_key_value_heads", 4).dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("num_key_value_heads")));
  EXPECT_THAT(ParseDecoderConfig(With(Smol(), "vocab_size", -1).dump()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("vocab_size")));
}

}  // namespace
}  // namespace editd::nn
