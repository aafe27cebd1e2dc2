#include "plugins/lib/text/regex.h"

#include <chrono>
#include <string>
#include <vector>

#include "plugins/lib/text/pattern.h"
#include "storage/base/testing.h"

namespace editd::text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> Matches(std::string_view pattern, std::string_view text) {
  const auto regex = Regex::Compile(pattern);
  EXPECT_TRUE(regex.ok()) << pattern << ": " << regex.status();
  std::vector<std::string> matches;
  if (!regex.ok()) return matches;
  Pattern(*regex).ForEach(text,
                          [&](size_t begin, size_t end) { matches.emplace_back(text.substr(begin, end - begin)); });
  return matches;
}

// What these should be was asked of the reference's engine (Split with the pattern, isolated).
TEST(Regex, TakesTheFirstAlternativeThatMatches) {
  EXPECT_THAT(Matches("(a|ab)(c|bcd)", "abcd abc"), ElementsAre("abcd", "abc"));
  EXPECT_THAT(Matches("x*y|\\d{3}(?!\\d)", "xxy 12345"), ElementsAre("xxy", "345"));
}

TEST(Regex, RepeatsGreedilyLazilyAndPossessively) {
  EXPECT_THAT(Matches("a{1,2}?", "aab"), ElementsAre("a", "a"));
  EXPECT_THAT(Matches("a{2}+b", "aaaab"), ElementsAre("aaaab"));  // A repetition of a{2}, not a possessive one.
  EXPECT_THAT(Matches("a++ab|b", "aab"), ElementsAre("b"));
  EXPECT_THAT(Matches("(?>a+)ab|b", "aab"), ElementsAre("b"));
  EXPECT_THAT(Matches("(?:ab?|c){2,4}", "abacab"), ElementsAre("abacab"));
  EXPECT_THAT(Matches("\\s+(?!\\S)|\\s+", "a  b "), ElementsAre(" ", " ", " "));
}

TEST(Regex, KnowsLinesAndWords) {
  EXPECT_THAT(Matches("b$", "ab\nab"), ElementsAre("b", "b"));
  EXPECT_THAT(Matches("^a", "ab\nab"), ElementsAre("a", "a"));
  EXPECT_THAT(Matches("b\\z", "ab\nab\n"), IsEmpty());
  EXPECT_THAT(Matches("b\\Z", "ab\nab\n"), ElementsAre("b"));
  EXPECT_THAT(Matches("\\bfoo\\b", "foo food foo"), ElementsAre("foo", "foo"));
  EXPECT_THAT(Matches("(?<=\\s)b", "b b"), ElementsAre("b"));
  EXPECT_THAT(Matches("(?<!a)b", "ab bb"), ElementsAre("b", "b"));
  EXPECT_THAT(Matches("\\w+", " a½²b "), ElementsAre("a½²b"));
  EXPECT_THAT(Matches("[\\w]+", " a½²b "), ElementsAre("a", "b"));  // As the reference has it.
}

TEST(Regex, FoldsAsciiLetters) {
  EXPECT_THAT(Matches("(?i:'s|'ll)", "'S 'ſ 'lL"), ElementsAre("'S", "'ſ", "'lL"));
  EXPECT_THAT(Matches("'(?i:[sdmt]|ll)", "'D 'ſ 's's"), ElementsAre("'D", "'ſ", "'s", "'s"));
  EXPECT_THAT(Matches("(?i)k", "kK\u212a"), ElementsAre("k", "K", "\u212a"));
}

TEST(Regex, CombinesClasses) {
  EXPECT_THAT(Matches("[a-z&&[^b]]+", "abc"), ElementsAre("a", "c"));
  EXPECT_THAT(Matches("[\\p{L}&&[^\\p{Han}]]+", "ab漢c"), ElementsAre("ab", "c"));
  EXPECT_THAT(Matches("[^a[bc]]+", "abcd"), ElementsAre("d"));
  EXPECT_THAT(Matches("[一-龥぀-ゟ]+", "x漢かy"), ElementsAre("漢か"));
  EXPECT_THAT(Matches("\\p{^Lu}|\\P{L}", "aB1"), ElementsAre("a", "1"));
  EXPECT_THAT(Matches("\\x41\\x{42}\\u0043", "xABC"), ElementsAre("ABC"));
}

TEST(Regex, RefusesByName) {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"a*", "a pattern that may match nothing is not supported"},
      {"(a)\\1", "at 4: \"\\1\" is not supported"},
      {"a(?=b*c)", "at 8: look-around without a bound is not supported"},
      {"(?<=a|bc)d", "at 9: looking behind at what has no fixed length is not supported"},
      {"(?i)straße", "\"st\" in any case is not supported"},
      {"(?i:é)", "at 6: a character beyond ASCII in any case is not supported"},
      {"(?i:[a-z])", "at 8: such a class in any case is not supported"},
      {"(?x:a)", "at 2: \"(?x\" is not supported"},
      {"[[:alpha:]]", "at 1: a bracket like [:alpha:] is not supported"},
      {"\\p{Klingon}", "at 1: the property \"Klingon\" is not supported"},
      {"(?:a*)+b", "a repetition of what may match nothing is not supported"},
      {"a{9999}", "more than 1000 repetitions is not supported"},
      {"\\X", "\"\\X\" is not supported"},
  };
  for (const auto& [pattern, message] : cases) {
    EXPECT_THAT(Regex::Compile(pattern).status(),
                StatusIs(absl::StatusCode::kUnimplemented, ::testing::HasSubstr(message)))
        << pattern;
  }
  for (std::string_view pattern : {"(a", "a)", "[a", "+a", "\\", "[b-a]", "\\p{L", "\\x"}) {
    EXPECT_THAT(Regex::Compile(pattern).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("at ")))
        << pattern;
  }
}

// Each of these takes hours where the work is the square of the length.
TEST(Regex, WorkGrowsWithTheLengthOnly) {
  const std::string letters(200'000, 'a'), spaces(200'000, ' ');
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(Matches("a*b", letters), IsEmpty());
  EXPECT_THAT(Matches("\\s++x|\\s*[\\r\\n]y", spaces), IsEmpty());
  EXPECT_THAT(Matches("(?:a|aa)+b", letters), IsEmpty());
  EXPECT_THAT(Matches("(?:a+)+b", letters), IsEmpty());
  EXPECT_THAT(Matches(".*?b", letters), IsEmpty());
  EXPECT_THAT(Matches("\\s*\\s*\\s*x", spaces), IsEmpty());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace editd::text
