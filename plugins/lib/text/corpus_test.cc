#include "plugins/lib/text/corpus.h"

#include "storage/base/testing.h"

namespace editd::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Documents(const CorpusFile& file, absl::Status* status = nullptr) {
  std::vector<std::string> documents;
  auto totals = ForEachDocument(file, [&](std::string_view document) {
    documents.emplace_back(document);
    return absl::OkStatus();
  });
  if (status) {
    *status = totals.status();
  } else {
    EXPECT_OK(totals);
  }
  return documents;
}

TEST(Corpus, ATextFileIsOneDocument) { EXPECT_THAT(Documents({"one\ntwo\n", "a.txt"}), ElementsAre("one\ntwo\n")); }

TEST(Corpus, JsonLinesAreADocumentALine) {
  EXPECT_THAT(Documents({"{\"text\": \"m\\u1ed9t\", \"id\": 7}\n\n{\"text\":\"\"}\r\n{\"text\":\"x\"}", "a.jsonl"}),
              ElementsAre("một", "", "x"));
}

TEST(Corpus, BytesThatAreNotUtf8AreRefusedWithTheirPlace) {
  absl::Status status;
  Documents({"ab\xe1 c", "vi.txt"}, &status);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("\"vi.txt\" is not UTF-8 at byte 2 (0xE1 0x20); convert it, or set")));
  Documents({"{\"text\":\"a\"}\n{\"text\":\"\xff\"}\n", "vi.jsonl"}, &status);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument,
                               HasSubstr("\"vi.jsonl\" is not UTF-8 at byte 22 (0xFF 0x22)")));
}

TEST(Corpus, InvalidBytesAreReplacedAsTheReferenceDoes) {
  EXPECT_THAT(Documents({"a\xe1\xba x\xff", "a.txt", InvalidUtf8::kReplace}),
              ElementsAre("a\xef\xbf\xbd x\xef\xbf\xbd"));
  EXPECT_THAT(Documents({"{\"text\":\"a\xe1\xba\"}", "a.jsonl", InvalidUtf8::kReplace}), ElementsAre("a\xef\xbf\xbd"));
}

TEST(Corpus, LinesWithInvalidBytesAreSkipped) {
  const CorpusFile file{"one\nt\xffwo\nthree", "a.txt", InvalidUtf8::kSkipLine};
  EXPECT_THAT(Documents(file), ElementsAre("one\nthree"));
  ASSERT_OK_AND_ASSIGN(const CorpusTotals totals, ForEachDocument(file, [](auto) { return absl::OkStatus(); }));
  EXPECT_EQ(totals.skipped_lines, 1u);
  EXPECT_EQ(totals.bytes, 9u);
  EXPECT_THAT(Documents({"{\"text\":\"a\"}\n{\"text\":\"\xff\"}\n{\"text\":\"b\"}", "a.jsonl", InvalidUtf8::kSkipLine}),
              ElementsAre("a", "b"));
}

TEST(Corpus, BrokenJsonLinesAreRefusedWithTheirPlace) {
  absl::Status status;
  Documents({"{\"text\":\"a\"}\n{\"text\":\n", "a.jsonl"}, &status);
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"a.jsonl\" line 2 (byte 13) is not JSON")));
  Documents({"{\"content\":\"a\"}", "a.jsonl"}, &status);
  EXPECT_THAT(status,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 1 (byte 0) has no string \"text\"")));
  Documents({"7", "a.jsonl"}, &status);
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("has no string \"text\"")));
}

}  // namespace
}  // namespace editd::text
