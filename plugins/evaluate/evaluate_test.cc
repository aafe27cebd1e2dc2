// evaluate's parts on a small model with a byte-level tokenizer, and a version of it with a smaller vocabulary.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
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
            nn::Compute compute = nn::Compute::kF32, bool padding_counts = false) {
    const TinyModel& model = *models_.emplace_back(std::make_unique<TinyModel>(vocabulary, padding));
    subject->name = std::move(name);
    ASSERT_OK(LoadSubject({model.config, model.tokenizer, id_map ? model.id_map : "", "", "", model.rows_used},
                          model.weights->source(), {compute, 2, nn::OneDnnBlockGemm(compute)}, padding_counts,
                          subject));
  }

  Measurement Evaluate(std::vector<Subject*> subjects, const Settings& settings) {
    rows_ = subjects.size() == 2 ? MatchRows(*subjects[0], *subjects[1]) : RowPairs();
    documents_ = std::make_unique<Documents>(std::vector<const Subject*>(subjects.begin(), subjects.end()), settings);
    for (size_t i = 0; i < texts_.size(); ++i) documents_->Add(0, i + 1, texts_[i]);
    EXPECT_OK(documents_->Finish());
    const Watch watch = [](double, uint64_t, uint64_t) { return absl::OkStatus(); };
    return Measure(subjects, subjects.size() == 2 ? &rows_ : nullptr, *documents_, settings, watch).value();
  }
  static std::vector<double> Nll(const Perplexity& perplexity) {
    std::vector<double> out;
    for (const Scores& scores : perplexity.documents) out.push_back(scores.nll);
    return out;
  }
  // -ln p of s[target] after s[begin .. target), over the first `rows` rows.
  static double NllOf(Subject* model, const std::vector<int32_t>& s, uint64_t begin, uint64_t target, int64_t rows) {
    nn::HiddenStates hidden;
    const std::vector<std::span<const int32_t>> one = {std::span(s).subspan(begin, target - begin)};
    EXPECT_OK(model->decoder->Run(one, &hidden));
    const void* const state = hidden.row(0, target - begin - 1);
    const auto logits = nn::Logits(*model->decoder, {&state, 1}).value();
    double sum = 0;
    for (int64_t row = 0; row < rows; ++row) sum += std::exp(static_cast<double>(logits[row]));
    return std::log(sum) - logits[s[target]];
  }

  // Everything that a result is made of, but for the times.
  static std::string Bits(Measurement measured) {
    KeptWriter out;
    for (const Perplexity& perplexity : measured.perplexity) {
      out.PutAll(perplexity.documents);
      for (const double number : {perplexity.nll_squares, perplexity.weighted, perplexity.weights}) out.Put(number);
      out.Put(perplexity.computed_tokens);
    }
    if (measured.diff.has_value()) {
      out.Put(static_cast<const LogitsSums&>(*measured.diff));
      measured.diff->targets.Keep(&out);
    }
    return out.bytes();
  }

  std::vector<std::string> texts_ = {
      "the cat in the house; the thin mouse in the hole", "",
      "this one says and once, here: and then it goes on for a while without the word, in the end", "tiếng Việt"};
  std::vector<std::unique_ptr<TinyModel>> models_;
  RowPairs rows_;
  std::unique_ptr<Documents> documents_;
};

TEST_F(EvaluateTest, PerplexityIsWhatTheLogitsSay) {
  Subject model;
  Load(Full(), 9, false, &model, "full");
  const Measurement measured = Evaluate({&model}, {.context = 16, .stride = 8});
  ASSERT_EQ(documents_->all().size(), 3u);  // Without the empty one.
  EXPECT_EQ(documents_->all()[1].line, 3u);
  for (size_t d = 0; d < 3; ++d) {
    const std::vector<int32_t>& s = documents_->texts()[d].sequence[0];
    double nll = 0;
    for (uint64_t target = 1; target < s.size(); ++target) {
      // The window that scores it: the first, or one that goes forward by 8.
      const uint64_t end = target <= 16 ? 16 : 16 + (target - 16 + 7) / 8 * 8;
      const uint64_t last = std::min<uint64_t>(end, s.size() - 1), begin = last > 16 ? last - 16 : 0;
      nll += NllOf(&model, s, begin, target, 263);  // Without padding.
    }
    const Scores& scores = measured.perplexity[0].documents[d];
    EXPECT_NEAR(scores.nll, nll, 1e-5 * (1 + nll));
    EXPECT_EQ(scores.tokens, s.size() - 1);
    EXPECT_EQ(scores.bytes, documents_->all()[d].bytes);
  }
}

TEST_F(EvaluateTest, JoinedTextsAreScoredAsTheProgramsDoAndToldByDocument) {
  Subject model;
  Load(Full(), 9, false, &model, "full", nn::Compute::kF32, true);
  for (const Convention convention : {Convention::kLlamaCpp, Convention::kHfStrided}) {
    const Measurement measured = Evaluate({&model}, {.convention = convention, .context = 16, .stride = 5});
    ASSERT_EQ(documents_->texts().size(), 1u);
    const std::vector<int32_t>& s = documents_->texts()[0].sequence[0];
    double nll = 0, weighted = 0, weights = 0;
    uint64_t tokens = 0;
    if (convention == Convention::kLlamaCpp) {
      for (uint64_t begin = 0; begin + 16 <= s.size(); begin += 16) {
        for (uint64_t t = begin + 9; t < begin + 16; ++t) nll += NllOf(&model, s, begin, t, 272), ++tokens;
      }
    } else {
      uint64_t previous = 0;
      for (uint64_t begin = 0; begin < s.size(); begin += 5) {
        const uint64_t end = std::min<uint64_t>(begin + 16, s.size());
        double sum = 0, count = 0;
        for (uint64_t t = std::max(previous, begin + 1); t < end; ++t) {
          sum += NllOf(&model, s, begin, t, 272), ++count;
        }
        nll += sum, tokens += count;
        weighted += sum / count * (end - previous - 1), weights += end - previous - 1;
        previous = end;
        if (end == s.size()) break;
      }
      EXPECT_EQ(tokens, s.size() - 1);
      EXPECT_NEAR(measured.perplexity[0].log_perplexity(), weighted / weights, 1e-5);
    }
    const Scores all = measured.perplexity[0].total();
    EXPECT_EQ(all.tokens, tokens);
    EXPECT_NEAR(all.nll, nll, 1e-5 * nll);
    for (const Scores& document : measured.perplexity[0].documents) EXPECT_GT(document.nll, 0);
  }
}

TEST_F(EvaluateTest, ResultsDependOnNeitherBatchNorCompanyOfTheSameTokenizer) {
  Subject full, same, trimmed;
  Load(Full(), 0, false, &full, "full");
  Load(Full(), 0, false, &same, "same");
  Load(Trimmed(), 3, true, &trimmed, "trimmed");
  const Settings settings = {.context = 24, .stride = 12};
  const auto alone = Nll(Evaluate({&full}, settings).perplexity[0]);
  const auto pair = Nll(Evaluate({&full, &trimmed}, settings).perplexity[1]);
  for (uint64_t batch : {0, 1, 3}) {
    Settings with = settings;
    with.batch = batch;
    const Measurement both = Evaluate({&full, &same}, with);
    EXPECT_EQ(Nll(both.perplexity[0]), alone);
    EXPECT_EQ(Nll(both.perplexity[1]), alone);
    EXPECT_EQ(Nll(Evaluate({&full, &trimmed}, with).perplexity[1]), pair);
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
    EXPECT_GT(diff.cut_otherwise, 0u);
    EXPECT_EQ(diff.boundaries, diff.positions + diff.cut_otherwise);
    EXPECT_EQ(diff.positions + diff.left_out, measured.perplexity[0].total().tokens);
    EXPECT_EQ(diff.max_abs, 0);
    EXPECT_EQ(diff.max_abs_centred, 0);
    EXPECT_EQ(diff.squares, 0);
    EXPECT_EQ(diff.kl, 0);
    EXPECT_EQ(diff.kl_reverse, 0);
    EXPECT_EQ(diff.js, 0);
    EXPECT_EQ(diff.kl_coarse, std::numeric_limits<double>::infinity());  // The bucket is empty in the other.
    EXPECT_LT(diff.kl_coarse_reverse, 0.2 * diff.positions);
    EXPECT_EQ(diff.same_top, diff.positions);
    EXPECT_EQ(diff.shared_top, diff.positions * 10);
    EXPECT_GT(diff.removed_mass, 0);
    EXPECT_LT(diff.removed_mass, 0.1 * diff.positions);
    EXPECT_EQ(diff.leaked_mass, 0);
    EXPECT_GT(diff.next_byte_kl_cut_otherwise, 0);
    // Where the segmentation is the same throughout, the other's NLL is less by -ln(1 - removed mass).
    EXPECT_LT(measured.perplexity[1].documents[0].nll, measured.perplexity[0].documents[0].nll);
    for (size_t d = 0; d < documents_->all().size(); ++d) {
      EXPECT_EQ(measured.perplexity[0].documents[d].bytes, documents_->all()[d].bytes);
      EXPECT_EQ(measured.perplexity[1].documents[d].bytes, documents_->all()[d].bytes);
    }
  }
}

TEST_F(EvaluateTest, NaNIsToldAndNotSummed) {
  Subject full;
  TinyModel model(Full(), 0);
  model.weights->Set("model.layers.1.mlp.down_proj.weight", 7, NAN);
  full.name = "broken";
  ASSERT_OK(LoadSubject({model.config, model.tokenizer, "", "", "", ""}, model.weights->source(), {}, false, &full));
  const Settings settings = {.context = 24, .stride = 12};
  Documents documents({&full}, settings);
  documents.Add(0, 0, "the cat");
  ASSERT_OK(documents.Finish());
  const Watch watch = [](double, uint64_t, uint64_t) { return absl::OkStatus(); };
  EXPECT_THAT(Measure({&full}, nullptr, documents, settings, watch).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       ::testing::AllOf(HasSubstr("broken: no finite probability"), HasSubstr("document 1"))));
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
  Evaluate({&full}, {.context = 16, .stride = 8, .max_tokens = 3 + 3});  // Inside the three bytes of "ế".
  ASSERT_EQ(documents_->all().size(), 2u);
  EXPECT_EQ(documents_->all()[1].bytes, 2u);
}

TEST_F(EvaluateTest, AModelWithoutBeginningOrEndIsRefused) {
  Subject subject;
  subject.name = "m";
  const std::string config = R"({"architectures": ["LlamaForCausalLM"], "vocab_size": 300, "hidden_size": 48,
      "intermediate_size": 80, "num_hidden_layers": 1, "num_attention_heads": 4})";
  const nn::WeightsFromNames weights(nn::ParseDecoderConfig(config).value());
  EXPECT_THAT(LoadSubject({config, TokenizerJson(Full()), "", "", "", ""}, weights.source(), {}, false, &subject),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("m: config.json names neither")));
}

// Stopped after each batch in turn, a measurement that goes on from what was kept gives the same bits, and computes
// nothing twice. What cannot be read is no beginning.
TEST_F(EvaluateTest, AStoppedMeasurementGoesOn) {
  Subject full, trimmed;
  Load(Full(), 0, false, &full, "full");
  Load(Trimmed(), 3, true, &trimmed, "trimmed");
  for (int i = 0; i < 6; ++i)
    texts_.push_back("and the " + std::string(static_cast<size_t>(i * 7), 'x') + " in the end");
  for (const std::vector<Subject*>& subjects : {std::vector<Subject*>{&full}, std::vector<Subject*>{&full, &trimmed}}) {
    const Settings settings = {.context = 12, .stride = 6, .batch = 3};
    const std::string whole = Bits(Evaluate(subjects, settings));
    const RowPairs* const rows = subjects.size() == 2 ? &rows_ : nullptr;
    std::string kept;
    uint64_t done = 0;
    int attempts = 0;
    for (bool ended = false; !ended; ++attempts) {
      ASSERT_LT(attempts, 1000);
      int batches = 0;
      const uint64_t done_before = done;
      const Watch watch = [&](double, uint64_t now, uint64_t) {
        if (batches == 0 && attempts > 0) {
          EXPECT_EQ(now, done);  // What was done; then one batch more.
        }
        done = now;
        return batches++ < (attempts == 0 ? 0 : 1) ? absl::OkStatus() : absl::CancelledError("stopped");
      };
      std::string saved;
      uint64_t went_on = 0;
      const Keeping keeping = {kept, [&](std::string_view bytes) { saved = bytes; },
                               [&](uint64_t, uint64_t tokens) { went_on = tokens; }};
      const auto measured = Measure(subjects, rows, *documents_, settings, watch, &keeping);
      EXPECT_EQ(went_on, attempts == 0 ? 0 : done_before);
      ended = measured.ok();
      if (ended) {
        EXPECT_TRUE(Bits(*measured) == whole);
      }
      if (!saved.empty()) kept = saved;
    }
    EXPECT_GT(attempts, 5);
    // Cut short at any place, it is not used, or is whole up to a window.
    const Watch watch = [](double, uint64_t, uint64_t) { return absl::OkStatus(); };
    for (size_t size = 0; size < kept.size(); size += kept.size() / 50 + 1) {
      const Keeping keeping = {std::string_view(kept).substr(0, size), [](std::string_view) {},
                               [](uint64_t, uint64_t) {}};
      EXPECT_TRUE(Measure(subjects, rows, *documents_, settings, watch, &keeping).ok());
    }
  }
}

}  // namespace
}  // namespace editd::evaluate
