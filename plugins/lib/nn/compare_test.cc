#include "plugins/lib/nn/compare.h"

#include <cmath>
#include <map>
#include <numeric>

#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/testing.h"

namespace editd::nn {
namespace {

std::vector<const void*> AllPositions(const HiddenStates& hidden, int64_t length) {
  std::vector<const void*> out;
  for (int64_t t = 0; t < length; ++t) out.push_back(hidden.row(0, t));
  return out;
}

class Compare : public ::testing::TestWithParam<Compute> {
 protected:
  void SetUp() override {
    golden_ = ReadGolden("tied");
    config_ = ParseDecoderConfig(golden_.config_json).value();
  }
  std::unique_ptr<Decoder> Load(const DecoderConfig& config, const WeightsFromNames& weights) {
    return Decoder::Load(config, weights.source(), {GetParam(), 2, OneDnnBlockGemm(GetParam())}).value();
  }
  static HiddenStates States(Decoder* decoder, const std::vector<int32_t>& ids) {
    HiddenStates out;
    const std::vector<std::span<const int32_t>> one = {ids};
    EXPECT_OK(decoder->Run(one, &out));
    return out;
  }
  Golden golden_;
  DecoderConfig config_;
};
INSTANTIATE_TEST_SUITE_P(Compute, Compare, ::testing::Values(Compute::kF32, Compute::kBF16));

// Row r begins with byte r % 7; every eleventh with none.
std::vector<uint16_t> Begins(int64_t rows) {
  std::vector<uint16_t> out;
  for (int64_t r = 0; r < rows; ++r) out.push_back(r % 11 == 0 ? kNoByte : r % 7);
  return out;
}

TEST_P(Compare, AModelAndItsTrimmedSelfAreExactlyEqualOnCommonRows) {
  const WeightsFromNames weights(config_);
  const auto base = Load(config_, weights);
  // Keeps every row but those divisible by 5, in another order.
  std::vector<int64_t> rows_base, rows_trimmed;
  std::map<int64_t, int64_t> new_id;
  std::vector<uint16_t> begins;
  for (int64_t id = config_.vocab_size - 1; id >= 0; --id) {
    if (id % 5 == 0) continue;
    rows_trimmed.push_back(rows_base.size());
    new_id[id] = rows_base.size();
    rows_base.push_back(id);
    begins.push_back(Begins(config_.vocab_size)[id]);
  }
  DecoderConfig small = config_;
  small.vocab_size = rows_base.size();
  WeightsFromNames trimmed(small);
  for (size_t i = 0; i < rows_base.size(); ++i) {
    for (int64_t h = 0; h < config_.hidden_size; ++h) {
      trimmed.Set("model.embed_tokens.weight", i * config_.hidden_size + h,
                  ValueFromName("model.embed_tokens.weight", rows_base[i] * config_.hidden_size + h));
    }
  }
  const auto other = Load(small, trimmed);
  std::vector<int32_t> ids, mapped;
  for (int32_t id : golden_.ids[1]) {
    if (id % 5 == 0) continue;
    ids.push_back(id);
    mapped.push_back(new_id[id]);
  }
  const HiddenStates a = States(base.get(), ids), b = States(other.get(), mapped);
  std::vector<PairPosition> positions;
  for (size_t t = 0; t + 1 < ids.size(); ++t) {
    positions.push_back({{a.row(0, t), b.row(0, t)}, {ids[t + 1], mapped[t + 1]}, true});
  }
  const CommonRows rows(rows_base, rows_trimmed, Begins(config_.vocab_size), begins);
  EXPECT_EQ(rows.common(), static_cast<int64_t>(rows_base.size()));
  size_t visited = 0;
  ASSERT_OK(ComparePositions(*base, *other, positions, rows, 5, [&](size_t index, const PairScore& score) {
    EXPECT_EQ(index, visited++);
    EXPECT_EQ(score.max_abs, 0);
    EXPECT_EQ(score.max_abs_centred, 0);
    EXPECT_EQ(score.squares, 0);
    EXPECT_EQ(score.kl, 0);
    EXPECT_EQ(score.kl_reverse, 0);
    EXPECT_EQ(score.js, 0);
    EXPECT_EQ(score.shared_top, 5);
    EXPECT_LT(score.common[0], 1);
    EXPECT_EQ(score.common[1], 1);
    // What the other gains is what the base gives to rows that are gone.
    EXPECT_NEAR(score.score[1].nll - score.score[0].nll, std::log(score.common[0]), 1e-5);
  }));
  EXPECT_EQ(visited, positions.size());
}

TEST_P(Compare, EveryNumberIsWhatTheLogitsSay) {
  const WeightsFromNames weights(config_);
  WeightsFromNames changed(config_);
  for (int64_t i = 0; i < 500; ++i) changed.Set("model.layers.1.mlp.down_proj.weight", i, 0.5f);
  const auto base = Load(config_, weights), other = Load(config_, changed);
  const std::vector<int32_t>& ids = golden_.ids[1];
  const HiddenStates a = States(base.get(), ids), b = States(other.get(), ids);
  const auto at_a = AllPositions(a, ids.size()), at_b = AllPositions(b, ids.size());
  // Rows 10 to 79 are common, in the other's order of 9 more; 86 rows count in the other.
  std::vector<int64_t> rows_a, rows_b;
  for (int64_t j = 10; j < 80; ++j) rows_a.push_back(j), rows_b.push_back(j == 79 ? 3 : j + 1);
  auto begins_a = Begins(90), begins_b = Begins(86);
  const CommonRows rows(rows_a, rows_b, begins_a, begins_b);
  std::vector<PairPosition> positions;
  for (size_t t = 0; t < ids.size(); ++t) positions.push_back({{at_a[t], at_b[t]}, {ids[t] % 86, -1}, t % 3 != 0});
  const auto logits_a = Logits(*base, at_a).value(), logits_b = Logits(*other, at_b).value();
  ASSERT_OK(ComparePositions(*base, *other, positions, rows, 10, [&](size_t t, const PairScore& score) {
    const float* const x = &logits_a[t * 96];
    const float* const y = &logits_b[t * 96];
    const auto sum_of = [](const float* z, int64_t n) {
      double sum = 0;
      for (int64_t j = 0; j < n; ++j) sum += std::exp(static_cast<double>(z[j]));
      return sum;
    };
    const double all_a = sum_of(x, 90), all_b = sum_of(y, 86);
    EXPECT_NEAR(score.score[0].nll, std::log(all_a) - x[ids[t] % 86], 3e-6);
    EXPECT_NEAR(score.score[1].log_sum_exp, std::log(all_b), 3e-6);
    // Next bytes: a common row counts as what it begins with in the base.
    std::vector<double> p(kByteClasses), q(kByteClasses);
    std::vector<bool> common_b(86);
    for (size_t j = 0; j < rows_b.size(); ++j) {
      q[begins_a[rows_a[j]]] += std::exp(static_cast<double>(y[rows_b[j]])) / all_b;
      common_b[rows_b[j]] = true;
    }
    for (int64_t j = 0; j < 90; ++j) p[begins_a[j]] += std::exp(static_cast<double>(x[j])) / all_a;
    for (int64_t j = 0; j < 86; ++j) {
      if (!common_b[j]) q[begins_b[j]] += std::exp(static_cast<double>(y[j])) / all_b;
    }
    double bytes = 0;
    for (int c = 0; c < kByteClasses; ++c) bytes += p[c] > 0 ? p[c] * std::log(p[c] / q[c]) : 0;
    EXPECT_NEAR(score.next_byte_kl, bytes, 1e-5 * (0.01 + bytes));
    if (t % 3 == 0) return;
    double in_a = 0, in_b = 0, kl = 0, reverse = 0, js = 0, squares = 0, mean = 0, largest = 0, centred = 0;
    for (size_t j = 0; j < rows_a.size(); ++j) {
      in_a += std::exp(static_cast<double>(x[rows_a[j]])), in_b += std::exp(static_cast<double>(y[rows_b[j]]));
      mean += (static_cast<double>(y[rows_b[j]]) - x[rows_a[j]]) / rows_a.size();
    }
    for (size_t j = 0; j < rows_a.size(); ++j) {
      const double la = x[rows_a[j]] - std::log(in_a), lb = y[rows_b[j]] - std::log(in_b);
      const double d = static_cast<double>(y[rows_b[j]]) - x[rows_a[j]];
      const double m = std::log((std::exp(la) + std::exp(lb)) / 2);
      kl += std::exp(la) * (la - lb), reverse += std::exp(lb) * (lb - la);
      js += (std::exp(la) * (la - m) + std::exp(lb) * (lb - m)) / 2;
      squares += d * d, largest = std::max(largest, std::abs(d)), centred += (d - mean) * (d - mean);
    }
    EXPECT_NEAR(score.common[0], in_a / all_a, 1e-5);
    EXPECT_NEAR(score.common[1], in_b / all_b, 1e-5);
    EXPECT_NEAR(score.kl, kl, 1e-5 * (0.01 + kl));
    EXPECT_NEAR(score.kl_reverse, reverse, 1e-5 * (0.01 + reverse));
    EXPECT_NEAR(score.js, js, 1e-5 * (0.01 + js));
    EXPECT_NEAR(score.squares, squares, 1e-4 * squares);
    EXPECT_NEAR(score.squares_centred, centred, 1e-4 * centred);
    EXPECT_NEAR(score.max_abs, largest, 1e-5 * largest);
    const auto top = [&](const float* z, const std::vector<int64_t>& order) {
      std::vector<size_t> places(order.size());
      std::iota(places.begin(), places.end(), 0);
      std::stable_sort(places.begin(), places.end(), [&](size_t i, size_t j) { return z[order[i]] > z[order[j]]; });
      places.resize(10);
      return places;
    };
    const auto top_a = top(x, rows_a), top_b = top(y, rows_b);
    int shared = 0;
    for (size_t i : top_a) shared += std::count(top_b.begin(), top_b.end(), i);
    EXPECT_EQ(score.shared_top, shared);
    const bool top_common =
        std::max_element(x, x + 90) == x + rows_a[top_a[0]] && std::max_element(y, y + 86) == y + rows_b[top_b[0]];
    EXPECT_EQ(score.same_top, top_common && top_a[0] == top_b[0]);
    EXPECT_EQ(score.same_top_common, top_a[0] == top_b[0]);
    EXPECT_NEAR(score.others[0], 1 - score.common[0], 1e-12);
  }));
}

}  // namespace
}  // namespace editd::nn
