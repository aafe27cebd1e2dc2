#include "plugins/trim/template_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace editd::trim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(TemplateText, FindsTextAndLiterals) {
  EXPECT_THAT(
      TemplateText("{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n'}} end{# 'no' #}\n{%- endfor %}"),
      ElementsAre("<|im_start|>", "role", "\n", " end", "\n"));
}

TEST(TemplateText, ABraceOrQuoteInALiteralEndsNothing) {
  EXPECT_THAT(TemplateText(R"({{ "a }} b" ~ 'it\'s' }}x)"), ElementsAre("a }} b", "it's", "x"));
}

TEST(TemplateText, BrokenTemplatesEnd) {
  EXPECT_THAT(TemplateText("a{{ 'b"), ElementsAre("a", "b"));
  EXPECT_THAT(TemplateText("{%"), IsEmpty());
  EXPECT_THAT(TemplateText("{"), ElementsAre("{"));
  EXPECT_THAT(TemplateText(""), IsEmpty());
}

}  // namespace
}  // namespace editd::trim
