// evaluate's parts on a small model with a byte-level tokenizer, and a version of it with a smaller vocabulary.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "plugins/evaluate/measure.h"
#include "plugins/evaluate/testing.h"
#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/head.h"
#include "plugins/lib/nn/testing.h"

namespace editd::evaluate {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

class EvaluateTest : public ::testing::Test {
 protected:
  // A model over `vocabulary` whose rows are those of the full one, and `padding` rows of rubbish.
  void Load(const Vocabulary& vocabulary, int padding, bool id_map, Subject* subject, std::string name,
            nn::Compute compute = nn::Compute::kF32) {
    const TinyModel& model = *models_.emplace_back(std::make_unique<TinyModel>(vocabulary, padding));
    subject->name = std::move(name);
    ASSERT_OK(LoadSubject({model.config, model.tokenizer, id_map ? model.id_map : "", model.rows_used},
                          model.weights->source(), {compute, 2, nn::OneDnnBlockGemm(compute)}, subject));
  }

  Measurement Evaluate(std::vector<Subject*> subjects, Settings settings, uint64_t max_tokens = 0) {
    rows_ = subjects.size() == 2 ? MatchRows(*subjects[0], *subjects[1]) : RowPairs();
    documents_ = std::make_unique<Documents>(std::vector<const Subject*>(subjects.begin(), subjects.end()),
                                             subjects.size() == 2 ? &rows_ : nullptr, max_tokens);
    for (const std::string& text : texts_) documents_->Add(text);
    const Watch watch = [](size_t, double, uint64_t, uint64_t) { return absl::OkStatus(); };
    return Measure(subjects, subjects.size() == 2 ? &rows_ : nullptr, documents_->all(), settings, watch).value();
  }

  std::vector<std::string> texts_ = {
      "the cat in the house; the thin mouse in the hole", "",
      "this one says and once, here: and then it goes on for a while without the word, in the end", "tiếng Việt"};
  std::vector<std::unique_ptr<TinyModel>> models_;
  RowPairs rows_;
  std::unique_ptr<Documents> documents_;
};

TEST(CutWindows, EveryTokenIsScoredOnceWithItsContext) {
  for (uint64_t tokens : {0, 1, 7, 8, 9, 20, 64}) {
    for (uint64_t stride : {1, 3, 4, 8}) {
      std::vector<Window> windows;
      CutWindows(0, tokens, 8, stride, &windows);
      uint64_t next = 0;
      for (const Window& w : windows) {
        EXPECT_EQ(w.scored_from, next);
        EXPECT_LE(w.length(), 8u);
        EXPECT_LE(w.begin, w.scored_from);
        if (w.begin > 0) {
          EXPECT_GE(w.scored_from + 1 - w.begin, 8 - stride + 1);
        }
        next = w.end;
      }
      EXPECT_EQ(next, tokens);
    }
  }
}

TEST_F(EvaluateTest, PerplexityIsWhatTheLogitsSay) {
  Subject model;
  Load(Full(), 9, false, &model, "full");
  const Measurement measured = Evaluate({&model}, {.context = 16, .stride = 8});
  ASSERT_EQ(documents_->all().size(), 4u);
  for (size_t d = 0; d < 4; ++d) {
    const std::vector<int32_t>& s = documents_->all()[d].sequence[0];
    double nll = 0;
    for (uint64_t target = 1; target < s.size(); ++target) {
      // The window that scores it: the first, or one that goes forward by 8.
      const uint64_t end = target <= 16 ? 16 : 16 + (target - 16 + 7) / 8 * 8;
      const uint64_t last = std::min<uint64_t>(end, s.size() - 1), begin = last > 16 ? last - 16 : 0;
      nn::HiddenStates hidden;
      const std::vector<std::span<const int32_t>> one = {std::span(s).subspan(begin, target - begin)};
      ASSERT_OK(model.decoder->Run(one, &hidden));
      const void* const state = hidden.row(0, target - begin - 1);
      const auto logits = nn::Logits(*model.decoder, {&state, 1});
      double sum = 0;
      for (int64_t row = 0; row < 263; ++row) sum += std::exp(static_cast<double>(logits[row]));  // Without padding.
      nll += std::log(sum) - logits[s[target]];
    }
    EXPECT_NEAR(measured.perplexity[0].nll[d], nll, 1e-5 * (1 + nll));
  }
}

TEST_F(EvaluateTest, ResultsDependOnNeitherBatchNorCompany) {
  Subject full, trimmed;
  Load(Full(), 0, false, &full, "full");
  Load(Trimmed(), 3, true, &trimmed, "trimmed");
  const Settings settings = {.context = 24, .stride = 12};
  const auto alone = Evaluate({&trimmed}, settings).perplexity[0].nll;
  const auto base = Evaluate({&full}, settings).perplexity[0].nll;
  for (uint64_t batch : {0, 1, 3}) {
    const Measurement both = Evaluate({&full, &trimmed}, {24, 12, batch});
    EXPECT_EQ(both.perplexity[0].nll, base);
    EXPECT_EQ(both.perplexity[1].nll, alone);
  }
}

TEST_F(EvaluateTest, APureTrimDiffersByExactlyNothing) {
  for (const nn::Compute compute : {nn::Compute::kF32, nn::Compute::kBF16}) {
    Subject full, trimmed;
    Load(Full(), 0, false, &full, "full", compute);
    Load(Trimmed(), 3, true, &trimmed, "trimmed", compute);
    const Measurement measured = Evaluate({&full, &trimmed}, {.context = 24, .stride = 12});
    EXPECT_EQ(rows_.matched_by, "id map");
    EXPECT_EQ(rows_.base.size(), 261u);
    EXPECT_EQ(rows_.base_only, 2u);
    EXPECT_EQ(rows_.other_only, 0u);
    const LogitsDiff& diff = *measured.diff;
    EXPECT_GT(diff.positions, 60u);
    EXPECT_GT(diff.left_out, 0u);  // What follows "and" in its window.
    EXPECT_EQ(diff.positions + diff.left_out,
              documents_->all()[0].tokens(0) + documents_->all()[2].tokens(0) + documents_->all()[3].tokens(0));
    EXPECT_EQ(diff.max_abs, 0);
    EXPECT_EQ(diff.squares, 0);
    EXPECT_EQ(diff.kl, 0);
    EXPECT_EQ(diff.same_top, diff.positions);
    EXPECT_GT(diff.removed_mass, 0);
    EXPECT_LT(diff.removed_mass, 0.1 * diff.positions);
    // Where the segmentation is the same throughout, the other's NLL is less by -ln(1 - removed mass).
    EXPECT_LT(measured.perplexity[1].nll[0], measured.perplexity[0].nll[0]);
  }
}

TEST_F(EvaluateTest, RowsMatchByTextWithoutAnIdMapThatFits) {
  Subject full, trimmed, again;
  Load(Full(), 0, false, &full, "full");
  Load(Trimmed(), 0, false, &trimmed, "trimmed");
  const RowPairs by_text = MatchRows(full, trimmed);
  EXPECT_EQ(by_text.matched_by, "token text");
  EXPECT_EQ(by_text.base.size(), 261u);
  Load(Trimmed(), 0, true, &again, "again");
  std::swap(again.parent_ids[3], again.parent_ids[4]);  // Leads to some other parent.
  EXPECT_EQ(MatchRows(full, again).matched_by, "token text");
  EXPECT_EQ(MatchRows(full, again).other_of_base, by_text.other_of_base);
}

TEST_F(EvaluateTest, MaxTokensCutsAtACharacter) {
  Subject full;
  Load(Full(), 0, false, &full, "full");
  texts_ = {"abc", "tiếng", "never"};
  Evaluate({&full}, {.context = 16, .stride = 8}, /*max_tokens=*/3 + 3);  // Inside the three bytes of "ế".
  ASSERT_EQ(documents_->all().size(), 2u);
  EXPECT_EQ(documents_->all()[1].bytes, 2u);
}

TEST_F(EvaluateTest, AModelWithoutBeginningOrEndIsRefused) {
  Subject subject;
  subject.name = "m";
  const std::string config = R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 300, "hidden_size": 48,
      "intermediate_size": 80, "num_hidden_layers": 1, "num_attention_heads": 4})";
  const nn::WeightsFromNames weights(nn::ParseDecoderConfig(config).value());
  EXPECT_THAT(LoadSubject({config, TokenizerJson(Full()), "", ""}, weights.source(), {}, &subject),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("m: config.json names neither")));
}

}  // namespace
}  // namespace editd::evaluate
