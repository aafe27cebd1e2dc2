#include "plugins/lib/text/script.h"

#include <gtest/gtest.h>

namespace editd::text {
namespace {

TEST(Script, OfCharacters) {
  EXPECT_EQ(ScriptName(ScriptOf('a')), "Latin");
  EXPECT_EQ(ScriptName(ScriptOf(U'ế')), "Latin");
  EXPECT_EQ(ScriptName(ScriptOf(U'字')), "Han");
  EXPECT_EQ(ScriptName(ScriptOf(U'Ж')), "Cyrillic");
  EXPECT_EQ(ScriptName(ScriptOf(0x1F600)), "Common");
  EXPECT_EQ(ScriptOf('7'), kScriptCommon);
  EXPECT_EQ(ScriptOf(0x0301), kScriptInherited);
  EXPECT_EQ(ScriptOf(0xE000), kScriptUnknown);
  EXPECT_EQ(ScriptOf(0x10FFFF), kScriptUnknown);
}

TEST(Script, ByLongAndShortNamesInAnyWriting) {
  EXPECT_EQ(ScriptByName("Latin"), ScriptOf('a'));
  EXPECT_EQ(ScriptByName("latn"), ScriptOf('a'));
  EXPECT_EQ(ScriptByName("Zyyy"), kScriptCommon);
  EXPECT_EQ(ScriptByName("old italic"), ScriptByName("Old_Italic"));
  EXPECT_EQ(ScriptName(*ScriptByName("oldItalic")), "Old_Italic");
  EXPECT_FALSE(ScriptByName("Latim"));
  EXPECT_FALSE(ScriptByName(""));
}

TEST(Script, EveryNameFindsItsScript) {
  for (size_t i = 0; i < ScriptCount(); ++i) {
    EXPECT_EQ(ScriptByName(ScriptName(static_cast<Script>(i))), i);
    EXPECT_EQ(ScriptByName(ScriptShortName(static_cast<Script>(i))), i);
  }
}

}  // namespace
}  // namespace editd::text
