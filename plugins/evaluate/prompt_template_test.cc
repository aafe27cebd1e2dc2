#include "plugins/evaluate/prompt_template.h"

#include <gtest/gtest.h>

#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::evaluate {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<std::string> Fill(std::string_view text) {
  const auto parsed = PromptTemplate::Parse(text);
  if (!parsed.ok()) return parsed.status();
  return parsed->Fill([](std::string_view name) -> absl::StatusOr<std::string> {
    if (name == "gone") return absl::InvalidArgumentError("no such field");
    return StrCat("<", name, ">");
  });
}

TEST(PromptTemplate, FieldsStandInBraces) {
  EXPECT_EQ(*Fill("Question: {question}\nAnswer:"), "Question: <question>\nAnswer:");
  EXPECT_EQ(*Fill("{a}{b} {{x}} }}{{"), "<a><b> {x} }{");
  EXPECT_EQ(*Fill("Câu hỏi: {câu hỏi}"), "Câu hỏi: <câu hỏi>");
  EXPECT_EQ(*Fill(""), "");
}

TEST(PromptTemplate, ErrorsSayWhere) {
  EXPECT_THAT(Fill("ab{c").status().message(), HasSubstr("the brace at byte 2 has no partner"));
  EXPECT_THAT(Fill("a}b").status().message(), HasSubstr("the brace at byte 1 has no partner"));
  EXPECT_THAT(Fill("{a{b}").status().message(), HasSubstr("the brace at byte 0 has no partner"));
  EXPECT_THAT(Fill("x {}").status().message(), HasSubstr("the braces at byte 2 name no field"));
  EXPECT_THAT(Fill("x {gone}").status().message(), HasSubstr("no such field"));
}

}  // namespace
}  // namespace editd::evaluate
