// Our tables of Unicode against ICU's: every code point, every property that splitters and normalizers look at.
//
// The tables are the reference's (tools/make_unicode_tables.py), whose parts follow different releases, and ICU follows
// its own. Compared is what both know: ICU tells the release in which a code point was assigned (its age). What is
// younger than ours must be to us as if it were not assigned, and what ICU does not know must not be what can never be
// assigned. Where the two differ though both know the code point, this file lists it.
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/uscript.h>
#include <unicode/uversion.h>

#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "plugins/lib/text/char_set.h"
#include "plugins/lib/text/nfc.h"
#include "plugins/lib/text/normalizer.h"
#include "plugins/lib/text/script.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::text {
namespace {

using icu::Normalizer2;
using icu::UnicodeString;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Releases, as major * 10 + minor.
constexpr int kSplitters = 160;   // \p{...}, \w and \s: the reference's engine for regular expressions.
constexpr int kDigits = 170;      // Digits, single_word and lower case: its language's library.
constexpr int kNormalForms = 90;  // NFC, NFD, NFKC, NFKD: its library for these.
constexpr int kScripts = 180;     // script.h

// 0: ICU has it not assigned.
int Age(uint32_t c) {
  UVersionInfo version;
  u_charAge(static_cast<UChar32>(c), version);
  return version[0] * 10 + version[1];
}

template <typename Each>
void ForEachCodePoint(Each&& each) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c < 0xd800 || c >= 0xe000) each(c);
  }
}

bool HasCategory(uint32_t c, uint32_t mask) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & mask) != 0; }

// Code points that both know and see differently. Also checks those that only one knows.
std::vector<uint32_t> Differences(int release, const std::function<bool(uint32_t)>& ours,
                                  const std::function<bool(uint32_t)>& theirs) {
  std::vector<uint32_t> differ;
  ForEachCodePoint([&](uint32_t c) {
    const int age = Age(c);
    if (age != 0 && age <= release) {
      if (ours(c) != theirs(c)) differ.push_back(c);
    } else if (ours(c)) {
      EXPECT_EQ(age, 0) << std::hex << c << " is assigned after our release";
      EXPECT_FALSE(u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_NONCHARACTER_CODE_POINT)) << std::hex << c;
    }
  });
  return differ;
}

TEST(UnicodeAgainstIcu, ReleasesAreThese) {
  UVersionInfo version;
  u_getUnicodeVersion(version);
  RecordProperty("icu_unicode", StrCat(version[0], ".", version[1]));
  // Older than ours but for normal forms, so that all that it knows is compared.
  EXPECT_GE(version[0] * 10 + version[1], 150);
  // The first code points of each of our releases, and of the one after.
  const uint8_t* flags = CodePointFlags();
  EXPECT_TRUE(flags[0x105c0] & kLetter);                          // Todhri, 16.0.
  EXPECT_FALSE(flags[0x10940] & kLetter);                         // Sidetic, 17.0.
  EXPECT_TRUE(flags[0x11de0] & kNumeric);                         // Tolong Siki digits, 17.0.
  EXPECT_EQ(NormalizeForm(Form::kNfkc, "\U0001f23b"), "\u914d");  // 9.0
  EXPECT_TRUE(LooksNormal(Form::kNfc, "\u1df6"));                 // A mark of 10.0.
}

TEST(UnicodeAgainstIcu, ClassesOfSplitters) {
  const uint8_t* flags = CodePointFlags();
  const auto ours = [flags](uint8_t bit) { return [flags, bit](uint32_t c) { return (flags[c] & bit) != 0; }; };
  const auto category = [](uint32_t mask) { return [mask](uint32_t c) { return HasCategory(c, mask); }; };
  const auto is_word = [](uint32_t c) {
    return u_isUAlphabetic(static_cast<UChar32>(c)) || HasCategory(c, U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK);
  };
  EXPECT_THAT(Differences(kSplitters, ours(kLetter), category(U_GC_L_MASK)), IsEmpty());
  EXPECT_THAT(Differences(kSplitters, ours(kNumber), category(U_GC_N_MASK)), IsEmpty());
  EXPECT_THAT(Differences(kSplitters, ours(kSpace), u_isUWhiteSpace), IsEmpty());
  EXPECT_THAT(Differences(kDigits, ours(kNumeric), category(U_GC_N_MASK)), IsEmpty());
  EXPECT_THAT(Differences(kDigits, ours(kWord),
                          [&](uint32_t c) { return is_word(c) || u_hasBinaryProperty(c, UCHAR_JOIN_CONTROL); }),
              IsEmpty());
  CharSet word = WordSet(false), in_class = WordSet(true);
  word.Freeze();
  in_class.Freeze();
  EXPECT_THAT(Differences(
                  kSplitters, [&](uint32_t c) { return word.Has(c); }, is_word),
              ElementsAre(0xb2, 0xb3, 0xb9, 0xbc, 0xbd, 0xbe));  // An oddity of the reference's engine.
  EXPECT_THAT(Differences(
                  kSplitters, [&](uint32_t c) { return in_class.Has(c); }, is_word),
              IsEmpty());
}

TEST(UnicodeAgainstIcu, GeneralCategories) {
  const std::pair<const char*, uint32_t> kAll[] = {
      {"Lu", U_GC_LU_MASK}, {"Ll", U_GC_LL_MASK}, {"Lt", U_GC_LT_MASK}, {"Lm", U_GC_LM_MASK}, {"Lo", U_GC_LO_MASK},
      {"Mn", U_GC_MN_MASK}, {"Mc", U_GC_MC_MASK}, {"Me", U_GC_ME_MASK}, {"Nd", U_GC_ND_MASK}, {"Nl", U_GC_NL_MASK},
      {"No", U_GC_NO_MASK}, {"Pc", U_GC_PC_MASK}, {"Pd", U_GC_PD_MASK}, {"Ps", U_GC_PS_MASK}, {"Pe", U_GC_PE_MASK},
      {"Pi", U_GC_PI_MASK}, {"Pf", U_GC_PF_MASK}, {"Po", U_GC_PO_MASK}, {"Sm", U_GC_SM_MASK}, {"Sc", U_GC_SC_MASK},
      {"Sk", U_GC_SK_MASK}, {"So", U_GC_SO_MASK}, {"Zs", U_GC_ZS_MASK}, {"Zl", U_GC_ZL_MASK}, {"Zp", U_GC_ZP_MASK},
      {"Cc", U_GC_CC_MASK}, {"Cf", U_GC_CF_MASK}, {"Co", U_GC_CO_MASK},
  };
  std::map<std::string, std::vector<uint32_t>> differ;
  for (const auto& [name, mask] : kAll) {
    CharSet set = *PropertySet(name);
    set.Freeze();
    const uint32_t theirs = mask;
    const auto found = Differences(
        kSplitters, [&set](uint32_t c) { return set.Has(c); }, [theirs](uint32_t c) { return HasCategory(c, theirs); });
    if (!found.empty()) differ[name] = found;
  }
  // U+1171E AHOM CONSONANT SIGN MEDIAL RA was Mn up to 15.1 and is Mc since.
  std::map<std::string, std::vector<uint32_t>> known;
  if (HasCategory(0x1171e, U_GC_MN_MASK)) known = {{"Mn", {0x1171e}}, {"Mc", {0x1171e}}};
  EXPECT_EQ(differ, known);
}

TEST(UnicodeAgainstIcu, Scripts) {
  const auto theirs = [](uint32_t c) {
    UErrorCode error = U_ZERO_ERROR;
    return uscript_getScript(static_cast<UChar32>(c), &error);
  };
  std::vector<uint32_t> differ;
  ForEachCodePoint([&](uint32_t c) {
    if (Age(c) == 0 || Age(c) > kScripts) return;
    const char* name = u_getPropertyValueName(UCHAR_SCRIPT, theirs(c), U_LONG_PROPERTY_NAME);
    if (ScriptByName(name) != ScriptOf(c)) differ.push_back(c);
  });
  EXPECT_THAT(differ, IsEmpty());
  for (const char* name :
       {"Latin",     "Greek",    "Cyrillic", "Armenian", "Hebrew",  "Arabic",   "Devanagari", "Bengali",  "Tamil",
        "Telugu",    "Thai",     "Lao",      "Tibetan",  "Myanmar", "Georgian", "Hangul",     "Ethiopic", "Khmer",
        "Mongolian", "Hiragana", "Katakana", "Bopomofo", "Han",     "Yi",       "Common"}) {
    CharSet set = *PropertySet(name);
    set.Freeze();
    const int value = u_getPropertyValueEnum(UCHAR_SCRIPT, name);
    EXPECT_THAT(
        Differences(
            kSplitters, [&set](uint32_t c) { return set.Has(c); }, [&](uint32_t c) { return theirs(c) == value; }),
        IsEmpty())
        << name;
  }
}

TEST(UnicodeAgainstIcu, LowerCase) {
  Normalizer lower;
  NormalizerStep step;
  step.kind = NormalizerStep::kLowercase;
  lower.Add(step);
  std::vector<uint32_t> differ;
  ForEachCodePoint([&](uint32_t c) {
    if (Age(c) == 0 || Age(c) > kDigits) return;
    std::string text, theirs;
    AppendUtf8(c, &text);
    UnicodeString::fromUTF8(text).toLower(icu::Locale::getRoot()).toUTF8String(theirs);
    if (lower.Apply(text) != theirs) differ.push_back(c);
  });
  EXPECT_THAT(differ, IsEmpty());
}

struct IcuForm {
  Form form;
  const Normalizer2* normalizer;
  UProperty quick_check;
};

std::vector<IcuForm> Forms() {
  UErrorCode error = U_ZERO_ERROR;
  std::vector<IcuForm> forms = {
      {Form::kNfc, Normalizer2::getNFCInstance(error), UCHAR_NFC_QUICK_CHECK},
      {Form::kNfd, Normalizer2::getNFDInstance(error), UCHAR_NFD_QUICK_CHECK},
      {Form::kNfkc, Normalizer2::getNFKCInstance(error), UCHAR_NFKC_QUICK_CHECK},
      {Form::kNfkd, Normalizer2::getNFKDInstance(error), UCHAR_NFKD_QUICK_CHECK},
  };
  EXPECT_TRUE(U_SUCCESS(error));
  return forms;
}

std::string Theirs(const IcuForm& form, const std::string& text) {
  UErrorCode error = U_ZERO_ERROR;
  std::string result;
  form.normalizer->normalize(UnicodeString::fromUTF8(text), error).toUTF8String(result);
  EXPECT_TRUE(U_SUCCESS(error));
  return result;
}

bool TheirQuickCheck(const IcuForm& form, uint32_t c) {
  return u_getIntPropertyValue(static_cast<UChar32>(c), form.quick_check) == UNORM_YES &&
         u_getCombiningClass(static_cast<UChar32>(c)) == 0;
}

// Normal forms never change for what is assigned (Unicode's stability policy), so what was assigned up to our release
// must be as in ICU, however much later that is. Younger code points are to us as unassigned ones are: they stay, and
// are stable. How many of those ICU would change, or reorder, is told by their ages.
TEST(UnicodeAgainstIcu, NormalForms) {
  std::map<Form, std::map<int, int>> younger;
  for (const IcuForm& form : Forms()) {
    std::vector<uint32_t> differ, differ_quickly;
    ForEachCodePoint([&](uint32_t c) {
      std::string text;
      AppendUtf8(c, &text);
      const std::string ours = NormalizeForm(form.form, text), theirs = Theirs(form, text);
      const bool quick = LooksNormal(form.form, text), their_quick = TheirQuickCheck(form, c);
      if (Age(c) > kNormalForms) {
        EXPECT_EQ(ours, text) << std::hex << c;
        EXPECT_TRUE(quick) << std::hex << c;
        if (!their_quick) ++younger[form.form][Age(c)];
        return;
      }
      if (ours != theirs) differ.push_back(c);
      if (quick != their_quick) differ_quickly.push_back(c);
    });
    EXPECT_THAT(differ, IsEmpty());
    EXPECT_THAT(differ_quickly, IsEmpty());
  }
  // Up to 15.0, which any ICU that we build with has.
  const std::map<int, int> canonical = {{100, 12}, {110, 23}, {120, 13}, {130, 11}, {140, 40}, {150, 10}};
  const std::map<int, int> compatible = {{100, 12}, {110, 23}, {120, 14}, {121, 1}, {130, 22}, {140, 99}, {150, 72}};
  for (auto& [form, ages] : younger) {
    std::erase_if(ages, [](const auto& entry) { return entry.first > 150; });
  }
  EXPECT_EQ(younger[Form::kNfc], canonical);
  EXPECT_EQ(younger[Form::kNfd], canonical);
  EXPECT_EQ(younger[Form::kNfkc], compatible);
  EXPECT_EQ(younger[Form::kNfkd], compatible);
}

// Whole strings, of what both know: each pair that composes, and random ones of letters, marks and what decomposes.
TEST(UnicodeAgainstIcu, NormalFormsOfStrings) {
  const std::vector<IcuForm> forms = Forms();
  std::vector<uint32_t> known, marks, unstable;
  std::vector<std::string> texts;
  ForEachCodePoint([&](uint32_t c) {
    if (Age(c) == 0 || Age(c) > kNormalForms) return;
    known.push_back(c);
    if (u_getCombiningClass(static_cast<UChar32>(c)) != 0) marks.push_back(c);
    if (!TheirQuickCheck(forms[2], c)) unstable.push_back(c);
    UnicodeString pair;
    if (forms[0].normalizer->getRawDecomposition(static_cast<UChar32>(c), pair)) {
      std::string text;
      pair.toUTF8String(text);
      texts.push_back(text);
      texts.push_back(text + "\u0323" + text + "\u0301");
    }
  });
  EXPECT_GT(texts.size(), 2 * 13000u);  // The Hangul syllables among them.
  std::mt19937 random(11);
  const auto any = [&random](const std::vector<uint32_t>& from) { return from[random() % from.size()]; };
  for (int i = 0; i < 40000; ++i) {
    std::string text;
    for (uint32_t n = 1 + random() % 12; n > 0; --n) {
      const uint32_t kind = random() % 8;
      AppendUtf8(kind < 3   ? any(marks)
                 : kind < 5 ? any(unstable)
                 : kind < 7 ? U"aeoudy\u01b0i"[random() % 8]
                            : any(known),
                 &text);
    }
    texts.push_back(text);
  }
  for (const IcuForm& form : forms) {
    for (const std::string& text : texts) {
      ASSERT_EQ(NormalizeForm(form.form, text), Theirs(form, text)) << text;
    }
  }
}

}  // namespace
}  // namespace editd::text
