#include "plugins/lib/text/count.h"

#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::text {
namespace {

using ::testing::HasSubstr;

std::unique_ptr<Tokenizer> Golden(const std::string& kind) {
  return *Tokenizer::FromJson(*ReadWholeFile(StrCat(EDITD_SOURCE_DIR, "/tests/golden/tokenizers/", kind, ".json")));
}

TEST(Count, TokensThatMayLieAcrossACutForbidCutting) {
  EXPECT_TRUE(Golden("gpt2")->CutsAtSpaces());
  EXPECT_FALSE(Golden("llama3")->CutsAtSpaces());  // Has "<r>" with rstrip, and " thực hiện".
}

TEST(Count, JsonLinesAreCountedLineByLine) {
  const auto tokenizer = Golden("gpt2");
  std::string lines;
  uint64_t expected = 0;
  for (int i = 0; i < 500; ++i) {
    const std::string text = StrCat("line ", i, " of the text  ");
    StrAppend(&lines, "{\"text\":\"", text, "\"}\n");
    expected += tokenizer->Encode(text, false).size();
  }
  CountOptions options;
  options.part_bytes = 100;
  options.threads = 4;
  ASSERT_OK_AND_ASSIGN(const TokenCounts counts, CountTokens(*tokenizer, {lines, "x.jsonl"}, options));
  EXPECT_EQ(counts.tokens, expected);
  EXPECT_EQ(counts.totals.documents, 500u);
}

TEST(Count, TheFirstErrorIsReportedWhateverTheThreads) {
  const auto tokenizer = Golden("gpt2");
  std::string lines;
  for (int i = 0; i < 200; ++i) lines += i == 70 || i > 90 ? "{\"no\":1}\n" : "{\"text\":\"a b\"}\n";
  CountOptions options;
  options.part_bytes = 1;
  options.threads = 4;
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(CountTokens(*tokenizer, {lines, "x.jsonl"}, options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 71 ")));
  }
}

// Threads look at their own parts: the result and the message are those of the whole text.
TEST(Count, BytesThatAreNotUtf8AreTreatedAsInTheWholeText) {
  const auto tokenizer = Golden("gpt2");
  std::string text;
  for (int i = 0; i < 300; ++i) StrAppend(&text, "line ", i, i % 100 == 50 ? " \xe1" : " \xe1\xba\xa1", " of it\n");
  CountOptions options;
  options.part_bytes = 50;
  for (const int threads : {1, 4}) {
    options.threads = threads;
    for (const InvalidUtf8 invalid : {InvalidUtf8::kRefuse, InvalidUtf8::kReplace, InvalidUtf8::kSkipLine}) {
      const CorpusFile file{text, "a.txt", invalid};
      const auto counts = CountTokens(*tokenizer, file, options);
      std::string storage;
      uint64_t skipped = 0;
      const auto whole = ValidText(file, &storage, &skipped);
      EXPECT_EQ(counts.status(), whole.status());
      if (!whole.ok()) continue;
      ASSERT_OK(counts);
      EXPECT_EQ(counts->tokens, tokenizer->Encode(*whole, false).size());
      EXPECT_EQ(counts->totals.bytes, whole->size());
      EXPECT_EQ(counts->totals.skipped_lines, invalid == InvalidUtf8::kSkipLine ? 3 : 0);
      EXPECT_EQ(counts->totals.documents, 1u);
    }
  }
}

TEST(Tally, CountsOnWhenSmallNumbersAreFull) {
  for (const uint64_t most : {uint64_t{3}, uint64_t{10}, uint64_t{1000}}) {
    Tally tally(3, most);
    std::vector<uint64_t> counts = {1, 0, 0};
    for (int i = 0; i < 100; ++i) {
      const TokenId ids[] = {0, 2, 0};
      tally.Add(ids, 3);
    }
    tally.AddTo(&counts);
    EXPECT_THAT(counts, testing::ElementsAre(201, 0, 100)) << most;
  }
}

TEST(Count, StopsWhenTold) {
  const auto tokenizer = Golden("gpt2");
  const std::string text(100000, 'a');
  CountOptions options;
  options.part_bytes = 1000;
  options.progress = [](uint64_t) { return false; };
  EXPECT_THAT(CountTokens(*tokenizer, {text, "a.txt"}, options), StatusIs(absl::StatusCode::kCancelled, "stopped"));
}

}  // namespace
}  // namespace editd::text
