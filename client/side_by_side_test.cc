#include "client/side_by_side.h"

#include "storage/base/testing.h"

namespace editd::client {
namespace {

TEST(SideBySide, BreaksBetweenWords) {
  EXPECT_EQ(SideBySide("one two three four", "a b", 23),
            "one two    | a b\n"
            "three four |\n");
}

TEST(SideBySide, CutsWhatIsTooLongAndKeepsNewlines) {
  EXPECT_EQ(SideBySide("abcdefghijklmno\n\nx", "", 23),
            "abcdefghij |\n"
            "klmno      |\n"
            "           |\n"
            "x          |\n");
}

TEST(SideBySide, CountsColumnsAndNotBytes) {
  EXPECT_EQ(SideBySide("Huế đẹp", "日本語", 23), "Huế đẹp    | 日本語\n");
  EXPECT_EQ(SideBySide("日本語日本語", "x", 23),
            "日本語日本 | x\n"
            "語         |\n");
}

TEST(SideBySide, NoTextCommandsTheTerminal) { EXPECT_EQ(SideBySide("a\x1b[2J", "b", 23), "a?[2J      | b\n"); }

}  // namespace
}  // namespace editd::client
