#include "plugins/evaluate/data.h"

#include <vector>

#include "plugins/evaluate/documents.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::evaluate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<std::vector<std::string>> Read(std::string_view content, Form form = Form::kByContent,
                                              std::string_view field = "text") {
  std::vector<std::string> out;
  const auto visit = [&](uint64_t line, std::string_view text) {
    out.push_back(StrCat(line, ":", text));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(ForEachText({content, "d.x"}, form, field, visit));
  return out;
}

TEST(Data, TheContentTellsTheForm) {
  EXPECT_THAT(*Read("two\nlines\n"), ElementsAre("0:two\nlines\n"));
  EXPECT_THAT(*Read("\n{\"text\": \"a\"}\n \n{\"text\": \"\"}"), ElementsAre("2:a", "4:"));
  EXPECT_THAT(*Read("{\"text\": \"a\"}", Form::kText), ElementsAre("0:{\"text\": \"a\"}"));
  EXPECT_THAT(*Read("{not json}\n"), ElementsAre("0:{not json}\n"));
  EXPECT_THAT(*Read("{\"body\": \"b\"}\n", Form::kByContent, "body"), ElementsAre("1:b"));
  EXPECT_THAT(*Read(""), ElementsAre("0:"));
}

TEST(Data, ErrorsSayWhere) {
  EXPECT_THAT(Read("{\"text\": \"a\"}\n{\"body\": \"b\"}").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, AllOf(HasSubstr("\"d.x\" line 2"), HasSubstr("\"text\""))));
  EXPECT_THAT(Read("{\"text\": 7}", Form::kJsonLines).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no string \"text\"")));
  EXPECT_THAT(Read("{\"text\": \"a\"}\n{nonsense").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"d.x\" line 2 is not JSON")));
  EXPECT_THAT(Read("[1]", Form::kJsonLines).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("is no JSON object")));
  EXPECT_THAT(Read("ab\xff").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("\"d.x\" is not UTF-8 at byte 2")));
}

TEST(Words, AsEachConventionCounts) {
  for (const auto& [text, words, lm_eval] :
       {std::tuple("one two", 2, 2), {" one\n\ntwo ", 2, 4}, {"", 0, 1}, {" \t", 0, 2}, {"một hai\u00a0ba", 3, 3}}) {
    EXPECT_EQ(CountWords(text, Convention::kBytes), static_cast<uint64_t>(words)) << text;
    EXPECT_EQ(CountWords(text, Convention::kLmEval), static_cast<uint64_t>(lm_eval)) << text;
  }
  EXPECT_EQ(CountCharacters("một"), 3u);
}

}  // namespace
}  // namespace editd::evaluate
