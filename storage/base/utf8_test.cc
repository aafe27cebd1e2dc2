#include "storage/base/utf8.h"

#include <gtest/gtest.h>

namespace editd {
namespace {

TEST(Utf8, WellFormedTextPasses) {
  for (const char* text : {"", "plain ascii, longer than eight", "Ti\xe1\xba\xbfng Vi\xe1\xbb\x87t", "\xf0\x9f\x98\x80",
                           "\xf4\x8f\xbf\xbf", "\xee\x80\x80", "\xed\x9f\xbf"}) {
    EXPECT_TRUE(IsUtf8(text)) << text;
    EXPECT_EQ(ToValidUtf8(text), text);
  }
}

TEST(Utf8, ThePositionIsThatOfTheSequence) {
  EXPECT_EQ(FindInvalidUtf8("12345678\xe1 "), 8u);
  EXPECT_EQ(FindInvalidUtf8("ab\xff"), 2u);
  EXPECT_EQ(FindInvalidUtf8("\xc0\x80"), 0u);          // Overlong.
  EXPECT_EQ(FindInvalidUtf8("a\xed\xa0\x80"), 1u);     // Surrogate.
  EXPECT_EQ(FindInvalidUtf8("\xf4\x90\x80\x80"), 0u);  // Above U+10FFFF.
  EXPECT_EQ(FindInvalidUtf8("ok\xf0\x9f\x98"), 2u);    // Cut off.
}

// Python: bytes.decode("utf-8", errors="replace").
TEST(Utf8, EachMaximalPartBecomesOneReplacement) {
  const std::string fffd = "\xef\xbf\xbd";
  EXPECT_EQ(ToValidUtf8("a\xf0\x9f\x98z"), "a" + fffd + "z");
  EXPECT_EQ(ToValidUtf8("\xc0\x80"), fffd + fffd);
  EXPECT_EQ(ToValidUtf8("\xe1 "), fffd + " ");
  EXPECT_EQ(ToValidUtf8("\xed\xa0\x80"), fffd + fffd + fffd);
}

TEST(Utf8, ALimitCutsBetweenCharacters) {
  EXPECT_EQ(ToValidUtf8("ab\xe1\xba\xbf", 4), "ab");
  EXPECT_EQ(ToValidUtf8("ab\xe1\xba\xbf", 5), "ab\xe1\xba\xbf");
}

}  // namespace
}  // namespace editd
