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
