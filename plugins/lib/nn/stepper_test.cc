// The goldens are those of the decoder, token by token.
#include "plugins/lib/nn/stepper.h"

#include <algorithm>

#include "plugins/lib/nn/head.h"
#include "plugins/lib/nn/testing.h"

namespace editd::nn {
namespace {

using ::testing::HasSubstr;

class EachFamily : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden(GetParam());
    config_ = ParseDecoderConfig(golden_.config_json).value();
    weights_ = std::make_unique<WeightsFromNames>(config_);
  }
  std::unique_ptr<Decoder> Load(Compute compute, int threads) {
    return Decoder::Load(config_, weights_->source(), {compute, threads, nullptr}).value();
  }
  // Logits of all positions, one token a step, the first `prompt` of them at once.
  std::vector<float> Steps(Decoder* decoder, const std::vector<int32_t>& ids, size_t prompt) {
    Stepper stepper(decoder, config_.vocab_size);
    KeyValueCache cache;
    std::vector<float> out(ids.size() * config_.vocab_size);
    if (prompt > 0) {
      HiddenStates hidden;
      const std::span<const int32_t> sequences[] = {{ids.data(), prompt}};
      KeyValueCache* const caches[] = {&cache};
      EXPECT_OK(decoder->Run(sequences, caches, &hidden));
      std::vector<const void*> rows;
      for (size_t t = 0; t < prompt; ++t) rows.push_back(hidden.row(0, t));
      EXPECT_OK(stepper.Logits(rows, out.data()));
    }
    for (size_t t = prompt; t < ids.size(); ++t) {
      const Stepper::Entry entry = {ids[t], &cache};
      EXPECT_OK(stepper.Step({&entry, 1}, out.data() + t * config_.vocab_size));
    }
    return out;
  }
  // The logits at the positions that the golden has.
  std::vector<float> Known(const std::vector<float>& all, size_t sequence) const {
    std::vector<float> out;
    for (int32_t t : golden_.positions[sequence]) {
      const auto row = all.begin() + t * config_.vocab_size;
      out.insert(out.end(), row, row + config_.vocab_size);
    }
    return out;
  }
  Golden golden_;
  DecoderConfig config_;
  std::unique_ptr<WeightsFromNames> weights_;
};
INSTANTIATE_TEST_SUITE_P(Golden, EachFamily, ::testing::ValuesIn(GoldenNames()),
                         [](const auto& info) { return info.param; });

TEST_P(EachFamily, LogitsEqualTransformers) {
  // Rope of type dynamic turns all positions by the whole length; a cache keeps what it was when it was put.
  for (const Rope& rope : config_.ropes) {
    if (rope.dynamic_from > 0) GTEST_SKIP() << "the golden is of whole sequences";
  }
  const auto decoder = Load(Compute::kF32, 2);
  for (size_t s = 0; s < golden_.ids.size(); ++s) {
    // The same bound as Run's: 1e-5 covers another order of sums.
    for (size_t prompt : {size_t{0}, std::min<size_t>(33, golden_.ids[s].size())}) {
      const auto all = Steps(decoder.get(), golden_.ids[s], prompt);
      EXPECT_LE(Error(Known(all, s), golden_.logits[s]), 1e-5) << s << " " << prompt;
    }
  }
  const auto rounded = Load(Compute::kBF16, 2);
  EXPECT_LE(Error(Known(Steps(rounded.get(), golden_.ids[1], 5), 1), golden_.logits[1]), 6e-2);
}

TEST_P(EachFamily, BitsDependOnNeitherNeighboursNorThreads) {
  for (const Compute compute : {Compute::kF32, Compute::kBF16}) {
    const auto one = Load(compute, 1), three = Load(compute, 3);
    std::vector<int32_t> ids = golden_.ids[1];
    ids.resize(std::min<size_t>(ids.size(), 70));  // Past two steps of 32 positions.
    const int64_t width = config_.vocab_size;
    const std::vector<float> alone = Steps(one.get(), ids, 3);
    Stepper stepper(three.get(), width, 3);
    KeyValueCache cache, others[4];
    HiddenStates hidden;
    const std::span<const int32_t> prompt[] = {{ids.data(), 3}};
    KeyValueCache* const caches[] = {&cache};
    ASSERT_OK(three->Run(prompt, caches, &hidden));
    for (size_t t = 3; t < ids.size(); ++t) {
      std::vector<Stepper::Entry> entries;
      for (size_t i = 0; i < t % 5; ++i) entries.push_back({static_cast<int32_t>((t * 7 + i) % width), &others[i]});
      const size_t at = entries.size();
      entries.push_back({ids[t], &cache});
      std::vector<float> logits(entries.size() * width);
      ASSERT_OK(stepper.Step(entries, logits.data()));
      ASSERT_TRUE(std::equal(alone.begin() + t * width, alone.begin() + (t + 1) * width, logits.begin() + at * width))
          << t;
    }
  }
}

TEST_P(EachFamily, ATokenWithoutARowIsRefused) {
  const auto decoder = Load(Compute::kF32, 1);
  Stepper stepper(decoder.get(), config_.vocab_size);
  KeyValueCache cache;
  std::vector<float> logits(config_.vocab_size);
  const Stepper::Entry entry = {static_cast<int32_t>(config_.vocab_size), &cache};
  EXPECT_THAT(ToStd(stepper.Step({&entry, 1}, logits.data()).message()), HasSubstr("has no row"));
}

}  // namespace
}  // namespace editd::nn
