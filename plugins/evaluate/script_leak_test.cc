#include "plugins/evaluate/script_leak.h"

#include <gtest/gtest.h>

#include <cmath>

#include "plugins/evaluate/measure.h"
#include "plugins/evaluate/testing.h"
#include "plugins/lib/nn/block_gemm_onednn.h"
#include "plugins/lib/nn/head.h"

namespace editd::evaluate {
namespace {

using ::testing::HasSubstr;

text::AllowedScripts Allowed(std::vector<std::string> names) { return text::AllowedScripts::Of(names).value(); }

TEST(ScriptLeak, WhatWasWrittenIsLookedAtAsOneText) {
  const auto tokenizer = text::Tokenizer::FromJson(TokenizerJson(Full())).value();
  const auto count = [&](std::string_view text) {
    std::vector<int32_t> ids;
    for (text::TokenId id : tokenizer->Encode(text, false)) ids.push_back(static_cast<int32_t>(id));
    const WrittenTokens written = CountOutside(*tokenizer, ids, Allowed({"Latin"}));
    return std::pair(static_cast<int>(written.tokens), static_cast<int>(written.outside));
  };
  EXPECT_EQ(count("the cat"), std::pair(5, 0));
  EXPECT_EQ(count("the 中文"), std::pair(2 + 6, 6));  // A token for each byte, and all of them count.
  EXPECT_EQ(count("tiếng<end>中"), std::pair(7 + 3, 3));
  EXPECT_EQ(count("<end>"), std::pair(0, 0));
  // Half of a character at the end: what it can be tells.
  const std::vector<int32_t> half = {static_cast<int32_t>(*tokenizer->ByteTokenId(0xe5))};
  EXPECT_EQ(CountOutside(*tokenizer, half, Allowed({"Latin"})).outside, 1u);
}

TEST(ScriptLeak, AnUnknownScriptIsToldWithTheNearest) {
  const std::vector<std::string> names = {"Latn", "Cyrilic"};
  EXPECT_THAT(text::AllowedScripts::Of(names).status().message(),
              HasSubstr("no script named \"Cyrilic\"; did you mean \"Cyrillic\"?"));
}

// Chinese and Russian, as tokens of two or three bytes.
Vocabulary WithOthers() {
  Vocabulary out = Full();
  const std::string e4 = Letter(0xe4), b8 = Letter(0xb8), ad = Letter(0xad), d0 = Letter(0xd0), b6 = Letter(0xb6);
  for (const auto& [a, b] : {std::pair(e4, b8), std::pair(e4 + b8, ad), std::pair(d0, b6), std::pair(b8, ad)}) {
    out.merges.emplace_back(a, b);
    out.order.push_back(a + b);
  }
  return out;
}

// Of the others' tokens only those of single bytes are left.
Vocabulary WithoutOthers() { return Full(); }

class LeakTest : public ::testing::Test {
 protected:
  void Load(const Vocabulary& vocabulary, const Vocabulary& rows_of, nn::Compute compute, Subject* subject) {
    const TinyModel& model = *models_.emplace_back(std::make_unique<TinyModel>(vocabulary, 3, rows_of));
    subject->name = "m";
    ASSERT_OK(LoadSubject({model.config, model.tokenizer, model.id_map, "", "", model.rows_used},
                          model.weights->source(), {compute, 2, nn::OneDnnBlockGemm(compute)}, false, subject));
  }
  static void Mark(Subject* subject) {
    subject->marked_rows = RowsOutside(*subject->tokenizer, subject->rows, Allowed({"Latin"}));
  }
  Measurement Evaluate(std::vector<Subject*> subjects) {
    const Settings settings = {.context = 16, .stride = 8};
    rows_ = subjects.size() == 2 ? MatchRows(*subjects[0], *subjects[1]) : RowPairs();
    documents_ = std::make_unique<Documents>(std::vector<const Subject*>(subjects.begin(), subjects.end()), settings);
    for (const char* text : {"the cat in the house and the thin mouse", "tiếng Việt"}) documents_->Add(0, 1, text);
    EXPECT_OK(documents_->Finish());
    const Watch watch = [](double, uint64_t, uint64_t) { return absl::OkStatus(); };
    return Measure(subjects, subjects.size() == 2 ? &rows_ : nullptr, *documents_, settings, watch).value();
  }
  // The mass of marked rows over a document, from whole rows of logits in double.
  double Oracle(Subject* subject, size_t document) {
    const std::vector<int32_t>& s = documents_->texts()[document].sequence[0];
    double sum = 0;
    for (uint64_t target = 1; target < s.size(); ++target) {
      const uint64_t end = target <= 16 ? 16 : 16 + (target - 16 + 7) / 8 * 8;
      const uint64_t last = std::min<uint64_t>(end, s.size() - 1), begin = last > 16 ? last - 16 : 0;
      nn::HiddenStates hidden;
      const std::vector<std::span<const int32_t>> one = {std::span(s).subspan(begin, target - begin)};
      EXPECT_OK(subject->decoder->Run(one, &hidden));
      const void* const state = hidden.row(0, static_cast<int64_t>(target - begin) - 1);
      const auto logits = nn::Logits(*subject->decoder, {&state, 1}).value();
      double all = 0, marked = 0;
      for (int64_t row = 0; row < subject->rows; ++row) all += std::exp(static_cast<double>(logits[row]));
      for (int32_t row : *subject->marked_rows) marked += std::exp(static_cast<double>(logits[row]));
      sum += marked / all;
    }
    return sum;
  }

  std::vector<std::unique_ptr<TinyModel>> models_;
  RowPairs rows_;
  std::unique_ptr<Documents> documents_;
};

TEST_F(LeakTest, MassIsWhatTheLogitsSay) {
  for (const nn::Compute compute : {nn::Compute::kF32, nn::Compute::kBF16}) {
    Subject subject;
    Load(WithOthers(), WithOthers(), compute, &subject);
    const double nll = Evaluate({&subject}).perplexity[0].total().nll;
    Mark(&subject);
    EXPECT_GT(subject.marked_rows->size(), 3u);
    const Measurement measured = Evaluate({&subject});
    EXPECT_EQ(measured.perplexity[0].total().nll, nll);  // The same bits, asked for or not.
    for (size_t d = 0; d < 2; ++d) {
      const double expected = Oracle(&subject, d);
      EXPECT_GT(expected, 0);
      // The head's sums are float32 over some hundred columns.
      EXPECT_NEAR(measured.perplexity[0].documents[d].outside, expected, 1e-5 * expected);
    }
  }
}

TEST_F(LeakTest, ATrimLeaksLessByWhatItRemoved) {
  Subject base, trimmed;
  Load(WithOthers(), WithOthers(), nn::Compute::kF32, &base);
  Load(WithoutOthers(), WithOthers(), nn::Compute::kF32, &trimmed);
  Mark(&base);
  Mark(&trimmed);
  const Measurement pair = Evaluate({&base, &trimmed});
  ASSERT_EQ(pair.diff->left_out, 0u);  // The texts are cut alike in both.
  const Scores of_base = pair.perplexity[0].total(), of_trimmed = pair.perplexity[1].total();
  EXPECT_LT(of_trimmed.outside, of_base.outside);
  EXPECT_GT(of_trimmed.outside, 0);  // Bytes are left, which can only begin other scripts.
  // Beside another or alone: the same bits.
  const double alone = Evaluate({&trimmed}).perplexity[0].total().outside;
  EXPECT_EQ(of_trimmed.outside, alone);
  EXPECT_NEAR(of_trimmed.outside, Oracle(&trimmed, 0) + Oracle(&trimmed, 1), 1e-5 * of_trimmed.outside);
  // Without the bytes, nothing is left, exactly.
  trimmed.marked_rows = std::vector<int32_t>();
  EXPECT_EQ(Evaluate({&trimmed}).perplexity[0].total().outside, 0);
}

}  // namespace
}  // namespace editd::evaluate
