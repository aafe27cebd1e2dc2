#include "plugins/evaluate/choices.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plugins/evaluate/kept_measurement.h"
#include "plugins/evaluate/testing.h"
#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/head.h"

namespace editd::evaluate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ChoicesTest : public ::testing::Test {
 protected:
  // With nine rows of padding, which take part in the soft-max, as they do in lm-evaluation-harness.
  void SetUp() override { Load(nn::Compute::kF32); }
  void Load(nn::Compute compute) {
    model_ = std::make_unique<TinyModel>(Full(), 9);
    subject_.name = "full";
    ASSERT_OK(LoadSubject({model_->config, model_->tokenizer, "", "", "", model_->rows_used}, model_->weights->source(),
                          {compute, 2, nn::OneDnnBlockGemm(compute)}, false, &subject_));
  }
  std::vector<std::string> Texts(const std::vector<int32_t>& ids) const {
    std::vector<std::string> out;
    for (int32_t id : ids) out.emplace_back(subject_.tokenizer->TokenBytes(static_cast<text::TokenId>(id)));
    return out;
  }
  struct Measured : ChoiceMeasurement {
    uint64_t computed_tokens = 0;
  };
  absl::StatusOr<Measured> Measure(const std::vector<Question>& questions, const ChoiceSettings& settings) {
    ChoicesSoFar so_far;
    auto measured = MeasureOn(questions, settings, &so_far, [] { return absl::OkStatus(); });
    if (!measured.ok()) return measured.status();
    return Measured{*std::move(measured), so_far.computed_tokens};
  }
  absl::StatusOr<ChoiceMeasurement> MeasureOn(const std::vector<Question>& questions, const ChoiceSettings& settings,
                                              ChoicesSoFar* so_far, const std::function<absl::Status()>& told) {
    return MeasureChoices(
        subject_, questions, settings, [](const Question& question) { return StrCat("line ", question.line); }, told,
        so_far);
  }
  // ln p of the ids from `first` on, each after those before it, from whole rows of logits in double.
  double LogLikelihood(const std::vector<int32_t>& ids, size_t first) {
    nn::HiddenStates hidden;
    const std::vector<std::span<const int32_t>> one = {std::span(ids).first(ids.size() - 1)};
    EXPECT_OK(subject_.decoder->Run(one, &hidden));
    double sum = 0;
    for (size_t k = first; k < ids.size(); ++k) {
      const void* const state = hidden.row(0, static_cast<int64_t>(k) - 1);
      const std::vector<float> logits = nn::Logits(*subject_.decoder, {&state, 1}).value();
      double total = 0;
      for (float logit : logits) total += std::exp(static_cast<double>(logit));
      sum += logits[ids[k]] - std::log(total);
    }
    return sum;
  }

  std::unique_ptr<TinyModel> model_;
  Subject subject_;
  std::vector<Question> questions_ = {
      {0, 1, "the cat sits in the", {"house", "hole", "thin and other house"}, 0},
      {0, 2, "tiếng ", {"Việt", "the"}, 1},
      {0, 3, "and then it goes on for a while without the word, in the end: ", {"an", "and", "in", "the the the"}, 3},
      {0, 4, "", {"the cat", "the dog"}, 1},
      {0, 5, "which letter? ", {"x", "y"}, 0},
  };
};

TEST_F(ChoicesTest, TheBoundaryIsThatOfLmEvaluationHarness) {
  // The context's space goes to the continuation, where it makes the token " the".
  EncodedPair pair = EncodePair(subject_, "in ", "the cat");
  EXPECT_THAT(Texts(pair.context), ElementsAre("in"));
  EXPECT_THAT(Texts(pair.continuation), ElementsAre(" the", " ", "c", "a", "t"));
  // Any white space, as Python's rstrip takes it.
  pair = EncodePair(subject_, "in \n\u3000", "the");
  EXPECT_THAT(Texts(pair.context), ElementsAre("in"));
  EXPECT_EQ(pair.continuation.size(), 2u + 3u + 1u);
  // A merge across the boundary: the continuation is what comes after as many tokens as the context has alone.
  pair = EncodePair(subject_, "xth", "e cat");
  EXPECT_THAT(Texts(pair.context), ElementsAre("x", "th"));
  EXPECT_THAT(Texts(pair.continuation), ElementsAre(" ", "c", "a", "t"));
  // An empty context, and one of white space, is the beginning of a text.
  pair = EncodePair(subject_, "", "the");
  EXPECT_THAT(Texts(pair.context), ElementsAre("<end>"));
  EXPECT_THAT(Texts(pair.continuation), ElementsAre("the"));
  pair = EncodePair(subject_, " ", "the");
  EXPECT_THAT(Texts(pair.context), ElementsAre("<end>"));
  EXPECT_THAT(Texts(pair.continuation), ElementsAre(" the"));
}

TEST_F(ChoicesTest, LogLikelihoodsAreWhatTheLogitsSay) {
  const auto measured = Measure(questions_, {});
  ASSERT_OK(measured.status());
  for (size_t q = 0; q < questions_.size(); ++q) {
    for (size_t c = 0; c < questions_[q].choices.size(); ++c) {
      const EncodedPair pair = EncodePair(subject_, questions_[q].prompt, StrCat(" ", questions_[q].choices[c]));
      std::vector<int32_t> ids = pair.context;
      ids.insert(ids.end(), pair.continuation.begin(), pair.continuation.end());
      const double expected = LogLikelihood(ids, pair.context.size());
      EXPECT_NEAR(measured->questions[q].log_likelihood[c], expected, 1e-5 * std::abs(expected)) << q << " " << c;
      EXPECT_EQ(measured->questions[q].tokens[c], pair.continuation.size());
      EXPECT_FALSE(measured->questions[q].truncated);
    }
  }
}

TEST_F(ChoicesTest, NothingDependsOnWhatRunsBesideOrOnWhatChoicesShare) {
  for (const nn::Compute compute : {nn::Compute::kF32, nn::Compute::kBF16}) {
    Load(compute);
    const Measured all = Measure(questions_, {}).value();
    uint64_t apart = 0;
    for (size_t q = 0; q < questions_.size(); ++q) {
      EXPECT_EQ(Measure({questions_[q]}, {})->questions[0].log_likelihood, all.questions[q].log_likelihood);
      // Each choice beside itself only: nothing to share with another.
      for (size_t c = 0; c < questions_[q].choices.size(); ++c) {
        Question alone = questions_[q];
        alone.choices = {questions_[q].choices[c]};
        const Measured one = Measure({alone}, {}).value();
        EXPECT_EQ(one.questions[0].log_likelihood[0], all.questions[q].log_likelihood[c]);
        apart += one.computed_tokens;
      }
    }
    EXPECT_LT(all.computed_tokens, 0.55 * apart);
    EXPECT_EQ(Measure(questions_, {.batch = 2})->questions[2].log_likelihood, all.questions[2].log_likelihood);
  }
}

TEST_F(ChoicesTest, LettersShareAllOfThePrompt) {
  const Measured measured = Measure({questions_[2]}, {.letters = true}).value();
  ASSERT_EQ(measured.questions[0].log_likelihood.size(), 4u);
  const std::string prompt = questions_[2].prompt.substr(0, questions_[2].prompt.size() - 1);
  // The context's space goes to the delimiter's: two of them and the letter.
  EXPECT_EQ(measured.computed_tokens, subject_.tokenizer->Encode(prompt, false).size() + 2);
  EXPECT_EQ(measured.questions[0].tokens, std::vector<uint32_t>({3, 3, 3, 3}));
}

TEST_F(ChoicesTest, WhatIsTooLongLosesItsBeginning) {
  Question question = questions_[2];
  const ChoiceMeasurement cut = Measure({question}, {.context = 9}).value();
  EXPECT_TRUE(cut.questions[0].truncated);
  for (size_t c = 0; c < 4; ++c) {
    const EncodedPair pair = EncodePair(subject_, question.prompt, StrCat(" ", question.choices[c]));
    std::vector<int32_t> ids = pair.context;
    ids.insert(ids.end(), pair.continuation.begin(), pair.continuation.end());
    ids.erase(ids.begin(), ids.end() - 10);  // Nine of context, and the last, which is only scored.
    const double expected = LogLikelihood(ids, ids.size() - pair.continuation.size());
    EXPECT_NEAR(cut.questions[0].log_likelihood[c], expected, 1e-5 * std::abs(expected)) << c;
  }
  EXPECT_THAT(Measure({question}, {.context = 3}).status().message(),
              HasSubstr("full: line 3: choice D has 4 tokens; that is more than the context of 3"));
}

TEST_F(ChoicesTest, AChoiceWithoutATokenOfItsOwnIsTold) {
  const Question question = {0, 7, "t", {"he", "hx"}, 0};
  EXPECT_THAT(Measure({question}, {.delimiter = ""}).status().message(),
              HasSubstr("full: line 7: choice A has no token of its own after the prompt"));
}

// Stopped after each batch in turn, and gone on from the bytes that were kept: the same bits, nothing computed twice.
TEST_F(ChoicesTest, AStoppedMeasurementGoesOn) {
  const ChoiceSettings settings = {.context = 20, .batch = 2};
  const Measured whole = Measure(questions_, settings).value();
  std::vector<uint64_t> choices;
  for (const Question& question : questions_) choices.push_back(question.choices.size());
  std::string kept;
  size_t attempts = 0, batches = 0;
  for (;; ++attempts) {
    ASSERT_LT(attempts, 10u);
    ChoicesSoFar so_far[1];
    if (attempts > 0) {
      ASSERT_TRUE(RestoreChoices(kept, choices, so_far));
      EXPECT_EQ(so_far[0].log_likelihood.size(), std::min<size_t>(2 * attempts, questions_.size()));
    }
    const auto measured = MeasureOn(questions_, settings, so_far, [&] {
      ++batches;
      return absl::CancelledError("stopped");
    });
    KeptWriter out;
    KeepChoices(so_far, &out);
    kept = out.bytes();
    if (!measured.ok()) continue;
    EXPECT_EQ(so_far[0].computed_tokens, whole.computed_tokens);
    for (size_t q = 0; q < questions_.size(); ++q) {
      EXPECT_EQ(measured->questions[q].log_likelihood, whole.questions[q].log_likelihood);
      EXPECT_EQ(measured->questions[q].tokens, whole.questions[q].tokens);
      EXPECT_EQ(measured->questions[q].truncated, whole.questions[q].truncated);
    }
    break;
  }
  EXPECT_EQ(attempts, 3u);
  EXPECT_EQ(batches, 3u);
  // Cut short at any place, or of other questions, it is no beginning.
  for (size_t size = 0; size < kept.size(); ++size) {
    ChoicesSoFar so_far[1];
    EXPECT_FALSE(RestoreChoices(std::string_view(kept).substr(0, size), choices, so_far));
  }
  ++choices[3];
  ChoicesSoFar so_far[1];
  EXPECT_FALSE(RestoreChoices(kept, choices, so_far));
}

TEST_F(ChoicesTest, NaNIsTold) {
  model_->weights->Set("model.layers.1.mlp.down_proj.weight", 7, NAN);
  ASSERT_OK(LoadSubject({model_->config, model_->tokenizer, "", "", "", ""}, model_->weights->source(), {}, false,
                        &subject_));
  EXPECT_THAT(Measure({questions_[0]}, {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("full: line 1: no finite probability")));
}

TEST(Chosen, DividesByWhatItIsAskedTo) {
  ChoiceScore score;
  score.log_likelihood = {-6, -7, -8, -7};
  score.tokens = {2, 3, 4, 3};
  const std::vector<std::string> texts = {"ab", "abc", "\u1ea1\u1ea1", "abc"};
  EXPECT_EQ(Chosen(score, texts, ChoiceNorm::kNone), 0u);
  EXPECT_EQ(Chosen(score, texts, ChoiceNorm::kCharacters), 1u);  // -3, -2.33, -4, -2.33: the first of equals.
  EXPECT_EQ(Chosen(score, texts, ChoiceNorm::kBytes), 2u);       // -3, -2.33, -1.33
  EXPECT_EQ(Chosen(score, texts, ChoiceNorm::kTokens), 2u);      // -3, -2.33, -2
}

}  // namespace
}  // namespace editd::evaluate
