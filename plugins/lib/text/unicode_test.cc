#include "plugins/lib/text/unicode.h"

#include <bit>
#include <random>

#include "plugins/lib/text/byte_alphabet.h"
#include "plugins/lib/text/fast_splitter.h"
#include "plugins/lib/text/nfc.h"
#include "plugins/lib/text/splitter.h"
#include "storage/base/testing.h"

namespace editd::text {
namespace {

using ::testing::ElementsAre;

TEST(Unicode, ClassesAreTheReferences) {
  const uint8_t* flags = CodePointFlags();
  int letters = 0, numbers = 0, spaces = 0;
  for (int c = 0; c < 0x110000; ++c) {
    letters += (flags[c] & kLetter) != 0;
    numbers += (flags[c] & kNumber) != 0;
    spaces += (flags[c] & kSpace) != 0;
  }
  EXPECT_EQ(letters, 141028);  // Unicode 16.0
  EXPECT_EQ(numbers, 1911);
  EXPECT_EQ(spaces, 25);
  EXPECT_FALSE(flags[0x180e] & kSpace);
  EXPECT_FALSE(flags[0x200b] & kSpace);
  EXPECT_TRUE(flags[0x11de0] & kNumeric);  // Unicode 17.0: one release ahead of \p{N}.
  EXPECT_FALSE(flags[0x11de0] & kNumber);
}

TEST(Unicode, InvalidPartsAreReplacedAsRustDoes) {
  EXPECT_EQ(Utf8Lossy("a\xc0\x80z"), "a\xef\xbf\xbd\xef\xbf\xbdz");
  EXPECT_EQ(Utf8Lossy("\xe1\xba"), "\xef\xbf\xbd");
  EXPECT_EQ(Utf8Lossy("\xe1\xbaz"), "\xef\xbf\xbdz");
  EXPECT_EQ(Utf8Lossy("\xf0\x9f\x98"), "\xef\xbf\xbd");
  EXPECT_EQ(Utf8Lossy("\xf0\x8f\x98\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(Utf8Lossy("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(Utf8Lossy("\xf4\x90\x80\x80"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(Utf8Lossy("ếm"), "ếm");
}

TEST(Unicode, ErrorsNameThePositionAndTheBytes) {
  EXPECT_THAT(CheckUtf8("abcdefgh\xe1 ", "vi.txt"),
              StatusIs(absl::StatusCode::kInvalidArgument, "\"vi.txt\" is not UTF-8 at byte 8 (0xE1 0x20)"));
  EXPECT_OK(CheckUtf8("tiếng Việt 👍", "vi.txt"));
}

TEST(Unicode, EveryByteHasALetterOfTheAlphabet) {
  std::string bytes, back;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  const std::string text = ToAlphabet(bytes);
  EXPECT_EQ(FirstInvalidUtf8(text), text.size());
  ASSERT_TRUE(AppendFromAlphabet(text, &back));
  EXPECT_EQ(back, bytes);
  EXPECT_FALSE(AppendFromAlphabet("aế", &back));
  EXPECT_EQ(back, bytes);
}

std::string ToNfc(std::string_view text) { return NormalizeForm(Form::kNfc, text); }

TEST(Nfc, ComposesReordersAndDecomposes) {
  EXPECT_EQ(ToNfc("e\u0323\u0302"), "ệ");
  EXPECT_EQ(ToNfc("e\u0302\u0323"), "ệ");
  EXPECT_EQ(ToNfc("ê\u0323"), "ệ");
  EXPECT_EQ(ToNfc("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(ToNfc("\uac00\u11a8"), "\uac01");
  EXPECT_EQ(ToNfc("\u212b\u2126"), "\u00c5\u03a9");
  EXPECT_EQ(ToNfc("\u0958"), "\u0915\u093c");         // Excluded from composition.
  EXPECT_EQ(ToNfc("a\u0301\u0301"), "\u00e1\u0301");  // Blocked.
  EXPECT_EQ(ToNfc("\u0301x"), "\u0301x");
}

TEST(Nfc, LeavesNormalTextAlone) {
  EXPECT_TRUE(LooksNormal(Form::kNfc, "Nghệ thuật 日本語 👍"));
  EXPECT_FALSE(LooksNormal(Form::kNfc, "e\u0301"));
}

std::vector<std::string> Pieces(SplitterKind kind, std::string_view text) {
  std::vector<std::string> pieces;
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const char* next = PieceEnd(kind, p, end);
    pieces.emplace_back(p, next - p);
    p = next;
  }
  return pieces;
}

TEST(Splitter, ContractionsIgnoreCaseAndKnowTheLongS) {
  EXPECT_THAT(Pieces(SplitterKind::kQwen2, "x'\u017fy'S"), ElementsAre("x", "'\u017f", "y", "'S"));
  EXPECT_THAT(Pieces(SplitterKind::kGpt2, "x'S's"), ElementsAre("x", "'", "S", "'s"));
}

TEST(Splitter, DigitsGoInGroupsOfEachKind) {
  EXPECT_THAT(Pieces(SplitterKind::kQwen2, "a1234"), ElementsAre("a", "1", "2", "3", "4"));
  EXPECT_THAT(Pieces(SplitterKind::kLlama3, "a1234"), ElementsAre("a", "123", "4"));
  EXPECT_THAT(Pieces(SplitterKind::kGpt2, "a1234"), ElementsAre("a", "1234"));
  EXPECT_THAT(Pieces(SplitterKind::kCl100k, "a1234"), ElementsAre("a", "1234"));  // As the reference reads {1,3}+.
}

TEST(Splitter, WhiteSpaceAtTheEndAndBeforeWords) {
  EXPECT_THAT(Pieces(SplitterKind::kGpt2, "a\n\n  b  "), ElementsAre("a", "\n\n ", " b", "  "));
  EXPECT_THAT(Pieces(SplitterKind::kLlama3, "a\n\n  b \n "), ElementsAre("a", "\n\n", " ", " b", " \n", " "));
  EXPECT_THAT(Pieces(SplitterKind::kCl100k, "a\n\n  b \n "), ElementsAre("a", "\n\n", " ", " b", " \n "));
}

// Returns how many pieces the fast splitter found itself.
template <SplitterKind kind>
size_t ExpectFastIsTheSame(const std::string& text) {
  const std::string readable = text + std::string(kReadable, '\'');
  const char* const end = readable.data() + text.size();
  size_t found = 0;
  for (const char* p = readable.data(); p < end;) {
    const char* const window = p;
    for (uint64_t ends = PieceEnds<kind>(ByteClasses::Get(), window, end - window); ends != 0; ends &= ends - 1) {
      const char* const next = PieceEnd(kind, p, end);
      EXPECT_EQ(window + std::countr_zero(ends) - readable.data(), next - readable.data())
          << text << " at " << p - readable.data();
      if (window + std::countr_zero(ends) != next) return found;
      p = next;
      ++found;
    }
    if (p == window) p = PieceEnd(kind, p, end);
  }
  return found;
}

// Random texts of few and of many characters, with long and short runs.
TEST(Splitter, FastSplittersGiveTheSamePieces) {
  std::mt19937 random(7);
  const auto below = [&random](uint32_t n) { return random() % n; };
  const std::string_view few[] = {" ", " ", "\n", "\r",  "\t", "'", "a",      "s",      "L", "1", "7", ".",
                                  "-", "“", "ế",  "'ll", "'S", "ſ", "\u00a0", "\u0301", "½", "👍", "漢"};
  size_t found = 0, bytes = 0;
  for (int i = 0; i < 30000; ++i) {
    std::string text;
    const uint32_t kinds = 1 + below(std::size(few)), first = below(std::size(few));
    for (uint32_t n = 1 + below(i % 2 ? 40 : 150); n > 0; --n) {
      switch (i % 3 == 0 ? 9 : below(8)) {
        case 0:
          text += " \n\r\t'"[below(5)];
          break;
        case 1: {
          const uint32_t c = below(0x110000);
          AppendUtf8(c >= 0xd800 && c < 0xe000 ? 'x' : c, &text);
          break;
        }
        case 2:
          AppendUtf8(0x80 + below(0x3000), &text);
          break;
        case 3:
          text.append(below(40), static_cast<char>('a' + below(26)));
          break;
        case 9:
          for (uint32_t times = below(8) == 0 ? below(70) : 1; times > 0; --times) {
            text += few[(first + below(kinds)) % std::size(few)];
          }
          break;
        default:
          text += static_cast<char>(0x20 + below(0x5f));
      }
    }
    bytes += 3 * text.size();
    found += ExpectFastIsTheSame<SplitterKind::kGpt2>(text);
    found += ExpectFastIsTheSame<SplitterKind::kLlama3>(text);
    found += ExpectFastIsTheSame<SplitterKind::kQwen2>(text);
    if (HasFailure()) return;
  }
  EXPECT_GT(found, bytes / 10);
}

}  // namespace
}  // namespace editd::text
