// Golden logits come from transformers: tests/golden/make_decoder.py.
#include "plugins/lib/nn/decoder.h"

#include <cmath>

#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/head.h"
#include "plugins/lib/nn/testing.h"

namespace editd::nn {
namespace {

using ::testing::HasSubstr;

std::vector<const void*> AllPositions(const HiddenStates& hidden, int64_t sequence, int64_t length) {
  std::vector<const void*> out;
  for (int64_t t = 0; t < length; ++t) out.push_back(hidden.row(sequence, t));
  return out;
}

std::vector<std::span<const int32_t>> Spans(const std::vector<std::vector<int32_t>>& ids) {
  return {ids.begin(), ids.end()};
}

// Runs a golden's sequences and gives the largest error.
double ErrorOf(const std::string& name, DType stored, Compute compute, bool portable) {
  const Golden golden = ReadGolden(name);
  const DecoderConfig config = ParseDecoderConfig(golden.config_json).value();
  const WeightsFromNames weights(config, stored);
  const auto decoder =
      Decoder::Load(config, weights.source(), {compute, 2, portable ? nullptr : OneDnnBlockGemm(compute)}).value();
  HiddenStates hidden;
  EXPECT_OK(decoder->Run(Spans(golden.ids), &hidden));
  double worst = 0;
  for (size_t s = 0; s < golden.ids.size(); ++s) {
    std::vector<const void*> at;
    for (int32_t position : golden.positions[s]) at.push_back(hidden.row(s, position));
    worst = std::max(worst, Error(Logits(*decoder, at).value(), golden.logits[s]));
  }
  return worst;
}

// Both sides have float32's rounding: transformers' own distance from float64 is up to 2e-6 here.
class GoldenLogits : public ::testing::TestWithParam<std::string> {};
TEST_P(GoldenLogits, EqualTransformersInFloat32) {
  EXPECT_LE(ErrorOf(GetParam(), DType::kF32, Compute::kF32, false), 1e-5);
}
// bf16 keeps 8 bits, and a logit is a sum of many rounded products: a check against blunders.
TEST_P(GoldenLogits, AreNearInBFloat16) { EXPECT_LE(ErrorOf(GetParam(), DType::kBF16, Compute::kBF16, false), 6e-2); }
INSTANTIATE_TEST_SUITE_P(Case, GoldenLogits, ::testing::ValuesIn(GoldenNames()),
                         [](const auto& info) { return info.param; });

TEST(GoldenLogitsToo, OtherTypesAndThePortableProducts) {
  EXPECT_LE(ErrorOf("tied", DType::kF16, Compute::kF32, false), 1e-5);
  EXPECT_LE(ErrorOf("untied", DType::kBF16, Compute::kF32, false), 1e-5);
  EXPECT_LE(ErrorOf("biases", DType::kF32, Compute::kBF16, false), 6e-2);
  for (const char* name : {"qwen3", "gemma2", "gemma3"}) {
    EXPECT_LE(ErrorOf(name, DType::kF32, Compute::kF32, true), 1e-5) << name;
  }
  EXPECT_LE(ErrorOf("head_dim", DType::kF32, Compute::kBF16, true), 6e-2);
}

class EachCompute : public ::testing::TestWithParam<Compute> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden("tied");
    config_ = ParseDecoderConfig(golden_.config_json).value();
  }
  std::unique_ptr<Decoder> Load(const WeightsFromNames& weights, int threads = 2) {
    return Decoder::Load(config_, weights.source(), {GetParam(), threads, OneDnnBlockGemm(GetParam())}).value();
  }
  Golden golden_;
  DecoderConfig config_;
};
INSTANTIATE_TEST_SUITE_P(Compute, EachCompute, ::testing::Values(Compute::kF32, Compute::kBF16));

TEST_P(EachCompute, StatesDependOnNeitherBatchNorThreadsNorWhatFollows) {
  const WeightsFromNames weights(config_);
  const auto one = Load(weights, 1), two = Load(weights, 2);
  const std::vector<int32_t>& ids = golden_.ids[1];
  HiddenStates alone, among;
  ASSERT_OK(one->Run(Spans({ids}), &alone));
  std::vector<int32_t> longer = ids, other(150, 7);
  longer.resize(131, 3);
  ASSERT_OK(two->Run(Spans({other, longer, other, ids, longer}), &among));
  for (size_t t = 0; t < ids.size(); ++t) {
    for (int64_t s : {1, 3, 4}) {
      ASSERT_EQ(std::memcmp(alone.row(0, t), among.row(s, t), alone.bytes_per_row), 0) << s << " " << t;
    }
  }
}

TEST_P(EachCompute, ASequenceInPartsGivesTheSameBits) {
  config_.attention[1].window = 21;
  const WeightsFromNames weights(config_);
  const auto decoder = Load(weights);
  std::vector<int32_t> ids = golden_.ids[0];
  ids.insert(ids.end(), golden_.ids[1].begin(), golden_.ids[1].end());
  ids.insert(ids.end(), golden_.ids[1].begin(), golden_.ids[1].end());  // 177, beyond two blocks.
  HiddenStates whole, part, other;
  ASSERT_OK(decoder->Run(Spans({ids}), &whole));
  KeyValueCache cache, unrelated;
  size_t done = 0;
  for (size_t count : {13, 1, 1, 60, 2, 64, 36}) {
    const std::vector<int32_t> next(ids.begin() + done, ids.begin() + done + count), beside(count + 3, 5);
    const std::vector<std::vector<int32_t>> both = {beside, next};
    KeyValueCache* const caches[] = {done % 2 == 0 ? &unrelated : nullptr, &cache};
    ASSERT_OK(decoder->Run(Spans(both), caches, &part));
    for (size_t t = 0; t < count; ++t) {
      ASSERT_EQ(std::memcmp(part.row(1, t), whole.row(0, done + t), whole.bytes_per_row), 0) << done << " " << t;
    }
    done += count;
    ASSERT_EQ(cache.length, static_cast<int64_t>(done));
  }
  ASSERT_EQ(done, ids.size());
  // Tokens taken back and put again.
  cache.length = 70;
  ASSERT_OK(decoder->Run(Spans({{3, 4, 5}}), std::vector{&cache}, &other));
  cache.length = 70;
  ASSERT_OK(decoder->Run(Spans({{ids.begin() + 70, ids.begin() + 75}}), std::vector{&cache}, &part));
  EXPECT_NE(std::memcmp(other.row(0, 0), whole.row(0, 70), whole.bytes_per_row), 0);
  for (size_t t = 0; t < 5; ++t) {
    ASSERT_EQ(std::memcmp(part.row(0, t), whole.row(0, 70 + t), whole.bytes_per_row), 0) << t;
  }
}

TEST_P(EachCompute, AWindowIsWhatAPositionDependsOn) {
  for (LayerAttention& layer : config_.attention) layer.window = 10;
  const WeightsFromNames weights(config_);
  const auto decoder = Load(weights);
  std::vector<int32_t> ids(150, 9), changed = ids;
  changed[20] = 11;
  HiddenStates a, b;
  ASSERT_OK(decoder->Run(Spans({ids}), &a));
  ASSERT_OK(decoder->Run(Spans({changed}), &b));
  // Two layers carry a change 9 positions each.
  for (int64_t t = 0; t < 150; ++t) {
    const bool same = std::memcmp(a.row(0, t), b.row(0, t), a.bytes_per_row) == 0;
    EXPECT_EQ(same, t < 20 || t > 38) << t;
  }
}

TEST_P(EachCompute, ScoresAreTheSoftMaxOfTheLogits) {
  const WeightsFromNames weights(config_);
  const auto decoder = Load(weights);
  HiddenStates hidden;
  ASSERT_OK(decoder->Run(Spans(golden_.ids), &hidden));
  const auto& ids = golden_.ids[1];
  const auto states = AllPositions(hidden, 1, ids.size());
  const auto logits = Logits(*decoder, states).value();
  for (int64_t rows : {96, 71}) {  // 71: the rest is padding and takes no part.
    std::vector<Position> positions;
    for (size_t t = 0; t + 1 < ids.size(); ++t) positions.push_back({states[t], ids[t + 1] % static_cast<int>(rows)});
    const auto scores = ScoreTargets(*decoder, positions, rows).value();
    for (size_t t = 0; t + 1 < ids.size(); ++t) {
      double sum = 0;
      for (int64_t j = 0; j < rows; ++j) sum += std::exp(static_cast<double>(logits[t * 96 + j]));
      ASSERT_NEAR(scores[t].nll, std::log(sum) - logits[t * 96 + positions[t].target], 2e-6);
    }
  }
}

TEST(Decoder, ErrorsNameTheTensor) {
  const DecoderConfig config = ParseDecoderConfig(ReadGolden("tied").config_json).value();
  WeightsFromNames weights(config);
  weights.Remove("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(Decoder::Load(config, weights.source(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("model.layers.1.mlp.up_proj.weight")));
  weights.Add("model.layers.1.mlp.up_proj.weight", {80, 47});
  EXPECT_THAT(Decoder::Load(config, weights.source(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[80, 47]; by config.json it is [80, 48]")));
  weights.Add("model.layers.1.mlp.up_proj.weight", {80, 48});
  weights.Add("model.layers.0.self_attn.q_proj.bias", {48});
  EXPECT_THAT(Decoder::Load(config, weights.source(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("q_proj.bias")));
  weights.Remove("model.layers.0.self_attn.q_proj.bias");
  for (const char* name : {"model.layers.1.self_attn.k_norm.weight", "lm_head.bias"}) {
    weights.Add(name, {12});
    EXPECT_THAT(Decoder::Load(config, weights.source(), {}),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name)));
    weights.Remove(name);
  }
  EXPECT_OK(Decoder::Load(config, weights.source(), {}));
}

TEST(Decoder, RefusesAnIdWithoutARow) {
  const DecoderConfig config = ParseDecoderConfig(ReadGolden("tied").config_json).value();
  const WeightsFromNames weights(config);
  ASSERT_OK_AND_ASSIGN(auto decoder, Decoder::Load(config, weights.source(), {}));
  HiddenStates hidden;
  EXPECT_THAT(decoder->Run(Spans({{1, 96}}), &hidden), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("96")));
}

}  // namespace
}  // namespace editd::nn
