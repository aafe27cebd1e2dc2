#include "plugins/evaluate/questions.h"

#include <gtest/gtest.h>

#include "storage/base/testing.h"

namespace editd::evaluate {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<Question> Read(std::string_view json, QuestionForm form = {}, std::string_view prompt = "{question}") {
  form.prompt = PromptTemplate::Parse(prompt).value();
  absl::StatusOr<Question> out = absl::NotFoundError("no line");
  const absl::Status read =
      ForEachJsonLine({json, "q.jsonl"}, [&](uint64_t, const simdjson::dom::object& line) -> absl::Status {
        out = ReadQuestion(line, form);
        return out.status();
      });
  return read.ok() ? out : absl::StatusOr<Question>(read);
}

TEST(Questions, ChoicesComeInSeveralForms) {
  for (const char* line : {
           R"({"question": "q?", "choices": ["x", "y", "z"], "answer": 1})",
           R"({"question": "q?", "choices": ["A. x", "B. y", "C. z"], "answer": "B"})",
           R"({"question": "q?", "choices": ["A) x", "B) y", "C) z"], "answer": "b"})",
           R"j({"question": "q?", "choices": {"A": "x", "B": "y", "C": "z"}, "answer": "(B)"})j",
           R"({"question": "q?", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "answer": "2"})",
           R"({"question": "q?", "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]}, "answer": 2})",
           R"({"question": "q?", "choices": {"text": ["x", "y", "z"]}, "answer": "1"})",
           R"({"question": "q?", "A": "x", "B": "y", "C": "z", "answer": "B."})",
           R"({"question": "q?", "choices": ["x", "y", "z"], "answer": " y "})",
       }) {
    const auto question = Read(line);
    ASSERT_TRUE(question.ok()) << line << question.status();
    EXPECT_THAT(question->choices, ElementsAre("x", "y", "z")) << line;
    EXPECT_EQ(question->answer, 1u) << line;
    EXPECT_EQ(question->prompt, "q?");
  }
  EXPECT_THAT(Read(R"({"question": "q", "choices": ["A. x", "y"], "answer": 0})")->choices, ElementsAre("A. x", "y"));
  EXPECT_THAT(Read(R"({"question": "q", "choices": [3, 2.5], "answer": "2.5"})")->choices, ElementsAre("3", "2.5"));
}

TEST(Questions, ThePromptIsFilledFromTheLine) {
  const char line[] = R"({"q": "2 + 2?", "n": 7, "passage": "p", "choices": ["3", "4"], "answer": "B"})";
  QuestionForm form;
  form.question_field = "q";
  EXPECT_EQ(Read(line, form, "{passage} {n}\n{question}\n{choices}\n")->prompt, "p 7\n2 + 2?\nA. 3\nB. 4\n");
  EXPECT_THAT(Read(line).status().message(),
              HasSubstr("line 1: there is no field \"question\", which the prompt asks for; name the field"));
  EXPECT_THAT(Read(line, {}, "{context}").status().message(), HasSubstr("there is no field \"context\", which"));
  EXPECT_THAT(Read(R"({"q": ["2"], "choices": ["3", "4"], "answer": "B"})", form).status().message(),
              HasSubstr("\"q\" is no text"));
}

TEST(Questions, AnAnswerThatMayMeanTwoChoicesIsRefusedUnlessItsFormIsGiven) {
  const char line[] = R"({"question": "blood?", "choices": ["O", "A", "B", "AB"], "answer": "B"})";
  EXPECT_THAT(Read(line).status().message(), HasSubstr("\"B\", which may mean choice C or B; set answer_form"));
  QuestionForm form;
  form.answer = AnswerForm::kLetter;
  EXPECT_EQ(Read(line, form)->answer, 1u);
  form.answer = AnswerForm::kText;
  EXPECT_EQ(Read(line, form)->answer, 2u);
  const char number[] = R"({"question": "2?", "choices": ["1", "2", "3"], "answer": "2"})";
  EXPECT_EQ(Read(number)->answer, 1u);  // A text goes before a number in quotes.
  form.answer = AnswerForm::kIndex;
  EXPECT_EQ(Read(number, form)->answer, 2u);
  EXPECT_THAT(Read(R"({"question": "2?", "choices": ["x", "x"], "answer": "x"})").status().message(),
              HasSubstr("may mean choice A or B"));
}

TEST(Questions, ErrorsTellTheLine) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"question": "q"})", "there is no field \"choices\"; name the field of the choices in choices_field"},
      {R"({"question": "q", "choices": "x", "answer": 0})", "\"choices\" is neither a list of choices nor an object"},
      {R"({"question": "q", "choices": ["x"], "answer": 0})", "a question has 2 to 26 choices; this one has 1"},
      {R"({"question": "q", "choices": ["x", ""], "answer": 0})", "choice B is empty"},
      {R"({"question": "q", "choices": ["x", ["y"]], "answer": 0})", "\"choices\"[1] is no text"},
      {R"({"question": "q", "choices": {"A": "x", "b": "y"}, "answer": 0})", "with other fields than \"A\", \"B\""},
      {R"({"question": "q", "choices": {"text": ["x", "y"], "label": ["1"]}, "answer": 0})", "2 texts and 1 labels"},
      {R"({"question": "q", "choices": ["x", "y"]})", "there is no field \"answer\""},
      {R"({"question": "q", "choices": ["x", "y"], "answer": 2})", "which is no choice: there are 2, counted from 0"},
      {R"({"question": "q", "choices": ["x", "y"], "answer": -1})", "\"answer\" is -1, which is no choice"},
      {R"({"question": "q", "choices": ["x", "y"], "answer": 0.5})", "\"answer\" is 0.5, which is no choice"},
      {R"({"question": "q", "choices": ["x", "y"], "answer": "C"})", "\"C\", which is none of the 2 choices"},
      {R"({"question": "q", "choices": ["x", "y"], "answer": null})", "\"answer\" is neither a number nor a text"},
  };
  for (const auto& [line, message] : cases) {
    EXPECT_THAT(Read(line).status().message(), ::testing::AllOf(HasSubstr("\"q.jsonl\" line 1"), HasSubstr(message)))
        << line;
  }
  QuestionForm named;
  named.choices_named = true;
  EXPECT_THAT(Read(R"({"question": "q", "A": "x", "B": "y", "answer": 0})", named).status().message(),
              HasSubstr("there is no field \"choices\""));
}

}  // namespace
}  // namespace editd::evaluate
