#include "plugins/lib/text/allowed_scripts.h"

#include "storage/base/testing.h"

namespace editd::text {
namespace {

using ::testing::HasSubstr;

AllowedScripts Allowed(std::vector<std::string> names) { return AllowedScripts::Of(names).value(); }

TEST(AllowedScripts, ATokenIsOutsideIfACharacterInItIs) {
  const AllowedScripts latin = Allowed({"Latin"});
  for (const char* inside :
       {"the", " tiếng Việt", "ĐƯỜNG", "12,5 %", "\n\t", "…“”—", "🙂", "👩‍💻", "🇻🇳", "e\u0301", "", "½ ² €"}) {
    EXPECT_FALSE(IsOutside(inside, latin)) << inside;
  }
  for (const char* outside : {"中", " 中", "ab中", "привет", "שלום", "ไทย", "한국", "かな", "अ", "\u0378"}) {
    EXPECT_TRUE(IsOutside(outside, latin)) << outside;
  }
  EXPECT_FALSE(IsOutside("中", Allowed({"Hani", "Latin"})));
  EXPECT_TRUE(IsOutside("the", Allowed({"Han"})));
}

TEST(AllowedScripts, PartsOfCharactersAreOutsideIfNoneTheyCanBeginIsAllowed) {
  const AllowedScripts latin = Allowed({"Latin"});
  EXPECT_TRUE(IsOutside("\xe5", latin));           // U+5000 to 5FFF: Han.
  EXPECT_TRUE(IsOutside("\xe4\xb8", latin));       // U+4E00 to 4E3F: Han.
  EXPECT_FALSE(IsOutside("\xe4", latin));          // The symbols of U+4DC0 are common.
  EXPECT_TRUE(IsOutside("\xd0", latin));           // Cyrillic.
  EXPECT_FALSE(IsOutside("\xe1", latin));          // Vietnamese begins so: U+1EA0.
  EXPECT_TRUE(IsOutside("\xe1\x80", latin));       // Myanmar.
  EXPECT_FALSE(IsOutside("\xf0\x9f", latin));      // Emoji.
  EXPECT_TRUE(IsOutside("\xf0\xa0", latin));       // Han.
  EXPECT_FALSE(IsOutside("\xbb\x87", latin));      // Ends of characters say nothing,
  EXPECT_TRUE(IsOutside("\x87 中", latin));        // what follows does.
  EXPECT_TRUE(IsOutside("the \xe5\x90", latin));   // A beginning at the end counts.
  EXPECT_FALSE(IsOutside("\xff\xc0 the", latin));  // No text at all.
  EXPECT_FALSE(IsOutside("\xe5", Allowed({"Han"})));
}

}  // namespace
}  // namespace editd::text
