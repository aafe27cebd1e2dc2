#include "plugins/evaluate/answer_letter.h"

#include <gtest/gtest.h>

#include <vector>

namespace editd::evaluate {
namespace {

// The letter that `answer` means among four choices, or '-'.
char Meant(std::string_view answer) {
  static const auto* const choices = new std::vector<std::string>{"Hà Nội", "Huế", "Đà Nẵng", "Vitamin C"};
  const auto meant = ChoiceMeant(answer, *choices);
  return meant.has_value() ? static_cast<char>('A' + *meant) : '-';
}

TEST(AnswerLetter, BareAndDecorated) {
  for (const char* answer : {"B",
                             "B.",
                             "B)",
                             "(B)",
                             "[B]",
                             "**B**",
                             "*B*",
                             "`B`",
                             " B \n",
                             "\"B\"",
                             "B. Huế",
                             "B) Huế",
                             "B: Huế",
                             "(B) Huế",
                             "**B. Huế**",
                             "**B**. Huế",
                             "B\n\nVì Huế là cố đô.",
                             "B - Huế",
                             "B Huế",
                             "b",
                             "b.",
                             "(b)",
                             "b) Huế",
                             "### B",
                             "B là đáp án đúng",
                             "B, vì Huế là cố đô",
                             "> B",
                             "B。",
                             "$B$"}) {
    EXPECT_EQ(Meant(answer), 'B') << answer;
  }
}

TEST(AnswerLetter, InVietnamese) {
  for (const char* answer : {"Đáp án: B",
                             "Đáp án B",
                             "Đáp án là B",
                             "Đáp án đúng là B.",
                             "ĐÁP ÁN: B",
                             "đáp án: b",
                             "Đáp Án Đúng: **B**",
                             "Đáp án đúng nhất là: B. Huế",
                             "Đáp án chính xác là (B)",
                             "Chọn B",
                             "Chọn đáp án B.",
                             "Tôi chọn B vì Huế là cố đô.",
                             "Em chọn phương án B",
                             "Câu trả lời: B",
                             "Câu trả lời đúng là B",
                             "Trả lời: B",
                             "Phương án B",
                             "Lựa chọn: B",
                             "Phương án đúng là **B**",
                             "Đáp án cuối cùng của tôi là B",
                             "Đáp án:\nB",
                             "**Đáp án:** B",
                             "**Đáp án: B**",
                             "Đáp án：B",
                             "Vì Huế là cố đô nên đáp án là B.",
                             "A sai, C sai.\nĐáp án: B",
                             "Đáp án đúng là B. Đáp án A sai vì Hà Nội ở miền Bắc.",
                             "A. Hà Nội\nB. Huế\nC. Đà Nẵng\nĐáp án: B",
                             "Đáp án: A? Không, đáp án: B",
                             "\u0110a\u0301p a\u0301n: B",
                             "Không chọn A, chọn B"}) {
    EXPECT_EQ(Meant(answer), 'B') << answer;
  }
}

TEST(AnswerLetter, InEnglish) {
  for (const char* answer :
       {"Answer: B", "The answer is B.", "The correct answer is (B) Huế", "The correct answer is: **B**", "ANSWER: B",
        "I choose B", "My final answer is \\boxed{B}.", "$\\boxed{\\text{B}}$", "Option B", "The best option is B",
        "It is option (B).", "I think it must be B", "A capital was there, so B", "Answer = B"}) {
    EXPECT_EQ(Meant(answer), 'B') << answer;
  }
}

TEST(AnswerLetter, TheTextOfAChoice) {
  EXPECT_EQ(Meant("Huế"), 'B');
  EXPECT_EQ(Meant("huế."), 'B');
  EXPECT_EQ(Meant("Vitamin C"), 'D');
  EXPECT_EQ(Meant("Đáp án: Vitamin C"), 'D');
  EXPECT_EQ(Meant("Đáp án đúng là Hà Nội\nvì C và D sai"), 'A');
  EXPECT_EQ(Meant("Thủ đô ở Huế"), '-');
  const std::vector<std::string> blood = {"O", "A", "B", "AB"};
  EXPECT_EQ(ChoiceMeant("B", blood), 1u);  // The letter was asked for.
}

TEST(AnswerLetter, WhatMeansNoneOrSeveral) {
  for (const char* answer : {"", " ", "Tôi không biết", "A và C", "A, B", "A/B", "B hoặc D", "Đáp án: A và B",
                             "A cat sat on the mat", "E", "Đáp án: E", "Tiếng Việt có B1",
                             "A. Hà Nội\nB. Huế\nC. Đà Nẵng\nD. Vitamin C", "Phương án A sai, phương án B đúng",
                             "I am not sure", "a dog", "Có thể là C, cũng có thể là D", "123", "\xff\xfe"}) {
    EXPECT_EQ(Meant(answer), '-') << answer;
  }
}

TEST(AnswerLetter, ThoughtsAreNoAnswer) {
  EXPECT_EQ(Meant("<think>Đáp án: A</think>\n\nĐáp án: C"), 'C');
  EXPECT_EQ(Meant("<think>Đáp án: A ..."), '-');
  EXPECT_EQ(Meant("... đáp án A?</think> D"), 'D');
}

}  // namespace
}  // namespace editd::evaluate
