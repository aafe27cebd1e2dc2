// The decoder on a device, which here is libtorch's processor: the code that CUDA runs. Golden logits come from
// transformers: tests/golden/make_decoder.py.
#include "plugins/lib/nn/torch_device.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "plugins/lib/nn/compare.h"
#include "plugins/lib/nn/head.h"
#include "plugins/lib/nn/stepper.h"
#include "plugins/lib/nn/testing.h"

namespace editd::nn {
namespace {

class TorchDevice : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    at::set_num_threads(1);  // The models are tiny.
    golden_ = ReadGolden(GetParam());
    config_ = ParseDecoderConfig(golden_.config_json).value();
    weights_ = std::make_unique<WeightsFromNames>(config_);
  }
  std::unique_ptr<Decoder> Load(Compute compute, bool on_device = true) const {
    auto decoder = Decoder::Load(config_, weights_->source(), {compute, 2, nullptr}).value();
    if (on_device) EXPECT_OK(decoder->MoveTo(MakeTorchDevice(DeviceKind::kProcessor)));
    return decoder;
  }
  // The worst of all sequences, run side by side.
  double ErrorOf(Compute compute) const {
    const auto decoder = Load(compute);
    const std::vector<std::span<const int32_t>> sequences(golden_.ids.begin(), golden_.ids.end());
    HiddenStates hidden;
    EXPECT_OK(decoder->Run(sequences, &hidden));
    double worst = 0;
    for (size_t s = 0; s < golden_.ids.size(); ++s) {
      std::vector<const void*> at;
      for (int32_t position : golden_.positions[s]) at.push_back(hidden.row(s, position));
      worst = std::max(worst, Error(Logits(*decoder, at).value(), golden_.logits[s]));
    }
    return worst;
  }

  Golden golden_;
  DecoderConfig config_;
  std::unique_ptr<WeightsFromNames> weights_;
};
INSTANTIATE_TEST_SUITE_P(Case, TorchDevice, ::testing::ValuesIn(GoldenNames()),
                         [](const auto& info) { return info.param; });

// The bounds of decoder_test, for the same reasons. bf16 rounds what products give, too.
TEST_P(TorchDevice, EqualsTransformersInFloat32) { EXPECT_LE(ErrorOf(Compute::kF32), 1e-5); }
TEST_P(TorchDevice, IsNearInBFloat16) { EXPECT_LE(ErrorOf(Compute::kBF16), 1e-1); }

// In parts beside other sequences, some tokens taken back, then by steps beside another one.
TEST_P(TorchDevice, PartsAndStepsGiveWhatTheyGiveOnTheProcessor) {
  for (LayerAttention& attention : config_.attention) attention.window = attention.window > 0 ? 21 : 0;
  std::vector<int32_t> ids = golden_.ids[0];
  ids.insert(ids.end(), golden_.ids[1].begin(), golden_.ids[1].end());
  ASSERT_GE(ids.size(), 35u);
  std::vector<float> logits[2];
  for (int side = 0; side < 2; ++side) {
    const auto decoder = Load(Compute::kF32, /*on_device=*/side == 1);
    Stepper stepper(decoder.get(), config_.vocab_size);
    KeyValueCache cache, other;
    const auto run = [&](size_t count) {
      const std::vector<int32_t> beside(5, 3);
      const std::span<const int32_t> sequences[] = {beside, std::span(ids).subspan(cache.length, count), beside,
                                                    beside};
      KeyValueCache* const caches[] = {nullptr, &cache, nullptr, nullptr};
      HiddenStates hidden;
      ASSERT_OK(decoder->Run(sequences, caches, &hidden));
      std::vector<const void*> at;
      for (int64_t s = 0; s < 4; ++s) at.push_back(hidden.row(s, s == 1 ? static_cast<int64_t>(count) - 1 : 4));
      std::vector<float> out(at.size() * config_.vocab_size);
      ASSERT_OK(stepper.Logits(at, out.data()));
      logits[side].insert(logits[side].end(), out.begin(), out.end());
    };
    run(13);
    run(14);
    cache.length = 20;
    run(3);
    std::vector<float> out(2 * config_.vocab_size);
    for (int step = 0; step < 12; ++step) {
      const Stepper::Entry entries[] = {{ids[cache.length], &cache}, {ids[step], &other}};
      ASSERT_OK(stepper.Step(entries, out.data()));
      logits[side].insert(logits[side].end(), out.begin(), out.end());
    }
    EXPECT_EQ(cache.length, 35);
    EXPECT_EQ(other.length, 12);
  }
  EXPECT_LE(Error(logits[1], logits[0]), 1e-5);
}

TEST_P(TorchDevice, ScoresAreThoseOfTheProcessor) {
  const auto decoder = Load(Compute::kF32), here = Load(Compute::kF32, /*on_device=*/false);
  const std::span<const int32_t> ids[] = {golden_.ids[1]};
  HiddenStates hidden;
  ASSERT_OK(here->Run(ids, &hidden));
  std::vector<Position> positions;
  std::vector<PairPosition> pairs;
  const int64_t rows = config_.vocab_size - 5;
  for (size_t t = 0; t + 1 < ids[0].size(); ++t) {
    const auto target = static_cast<int32_t>(ids[0][t + 1] % rows);
    positions.push_back({hidden.row(0, t), target});
    pairs.push_back({{hidden.row(0, t), hidden.row(0, t)}, {target, -1}, true});
  }
  const std::vector<int32_t> marked = {2, 7, 8, static_cast<int32_t>(rows) - 1};
  std::vector<double> probability, probability_here;
  // Float32 sums of logits of this size.
  constexpr double kNear = 2e-5;
  for (const auto& some : {std::span<const int32_t>(), std::span<const int32_t>(marked)}) {
    const auto scores = ScoreTargets(*decoder, positions, rows, some, &probability);
    const auto scores_here = ScoreTargets(*here, positions, rows, some, &probability_here);
    ASSERT_OK(scores);
    for (size_t t = 0; t < positions.size(); ++t) {
      ASSERT_NEAR((*scores)[t].nll, (*scores_here)[t].nll, kNear);
      ASSERT_NEAR((*scores)[t].log_sum_exp, (*scores_here)[t].log_sum_exp, kNear);
      ASSERT_NEAR(probability[t], probability_here[t], kNear);
      if (some.empty()) {
        ASSERT_EQ(probability[t], 0);
      }
    }
  }
  // A pair of the same numbers from either side.
  std::vector<int64_t> all(rows);
  for (int64_t r = 0; r < rows; ++r) all[r] = r;
  const CommonRows common(all, all, std::vector<uint16_t>(rows, 65), std::vector<uint16_t>(rows, 65));
  size_t visited = 0;
  ASSERT_OK(ComparePositions(*decoder, *here, pairs, common, 3, [&](size_t, const PairScore& score) {
    ++visited;
    EXPECT_NEAR(score.score[0].log_sum_exp, score.score[1].log_sum_exp, kNear);
    EXPECT_LE(score.kl, 1e-7);
    EXPECT_EQ(score.shared_top, 3);
  }));
  EXPECT_EQ(visited, pairs.size());
}

}  // namespace
}  // namespace editd::nn
