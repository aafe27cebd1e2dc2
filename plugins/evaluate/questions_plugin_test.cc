// The measurements that ask questions, by the built plugin in a real worker.
#include "absl/strings/str_split.h"
#include "plugins/evaluate/plugin_testing.h"

namespace editd::evaluate {
namespace {

using plugins::evaluate::v1::EvaluateResult;
using plugins::evaluate::v1::EvaluateSpec;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kQuestions[] =
    R"({"question": "where is the cat?", "choices": ["in the house", "there"], "answer": "A"}

{"question": "and the mouse?", "choices": ["in the hole", "and in the end", "on"], "answer": 2}
{"question": "which?", "choices": ["this", "that"], "answer": "that"}
)";

class QuestionsPluginTest : public EvaluatePluginTest {
 protected:
  PluginDriver WithQuestions(const std::string& name, const std::string& text, EvaluateSpec* spec) {
    EXPECT_OK(WriteFileAtomically(dir_ / name, text));
    spec->mutable_multiple_choice()->mutable_questions()->add_path("asset:" + name);
    PluginDriver driver;
    driver.File("asset:" + name, name, "", dir_ / name);
    return driver;
  }
};

TEST_F(QuestionsPluginTest, AsksTwoVersionsAndStoresEachAnswer) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  const PluginRun trimmed = Import(TinyModel(Trimmed(), 0), "trimmed");
  EvaluateSpec spec;
  PluginDriver driver = WithQuestions("q.jsonl", kQuestions, &spec);
  driver.Model("smol", full).Model("smol-envi", trimmed);
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
  const PluginRun run = driver.Run("evaluate", spec, dir_ / "staging");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  EXPECT_EQ(result.perplexity_size(), 0);
  const auto& choices = result.multiple_choice();
  EXPECT_EQ(choices.prompt(), "Question: {question}\nAnswer:");
  EXPECT_EQ(choices.delimiter(), " ");
  EXPECT_EQ(choices.questions().questions(), 3u);
  EXPECT_EQ(choices.questions().data(0).content(), "asset:q.jsonl");
  EXPECT_NEAR(choices.questions().chance(), (0.5 + 1 / 3.0 + 0.5) / 3, 1e-15);
  ASSERT_EQ(choices.scores_size(), 2);
  EXPECT_EQ(choices.scores(1).model(), "smol-envi");
  EXPECT_EQ(choices.scores(0).tokenizer().size(), 64u);
  EXPECT_EQ(choices.scores(0).context(), 2048u);

  const std::vector<std::string> lines =
      absl::StrSplit(run.FileContent("measured-choices.jsonl"), '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 4u);
  const auto head = nlohmann::json::parse(lines[0]), second = nlohmann::json::parse(lines[2]);
  EXPECT_EQ(head["format"], "editd questions 1");
  EXPECT_EQ(head["metrics"], nlohmann::json({"acc", "acc_norm", "acc_bytes", "acc_tokens"}));
  EXPECT_EQ(second["file"], "q.jsonl");
  EXPECT_EQ(second["line"], 3);
  EXPECT_EQ(second["answer"], "C");
  EXPECT_EQ(second["choices"], 3);
  EXPECT_EQ(second["log_likelihood"][0].size(), 3u);
  double right = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto line = nlohmann::json::parse(lines[i]);
    const std::vector<double> sums = line["log_likelihood"][0];
    const auto best = static_cast<char>('A' + (std::max_element(sums.begin(), sums.end()) - sums.begin()));
    EXPECT_EQ(line["chosen"][0], std::string(1, best));
    EXPECT_EQ(line["acc"][0], line["chosen"][0] == line["answer"] ? 1 : 0);
    right += line["acc"][0].get<double>();
  }
  const double acc = right / 3;
  EXPECT_NEAR(choices.scores(0).acc().value(), acc, 1e-15);
  // The standard deviation of three zeros and ones, by sqrt(3).
  EXPECT_NEAR(choices.scores(0).acc().error(), std::sqrt(acc * (1 - acc) / 2), 1e-12);
}

TEST_F(QuestionsPluginTest, PerplexityAndQuestionsGoInOneJob) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  PluginDriver driver = WithQuestions("q.jsonl", kQuestions, &spec);
  EXPECT_OK(WriteFileAtomically(dir_ / "t.txt", "the cat in the house"));
  spec.add_data()->set_path("asset:t.txt");
  driver.File("asset:t.txt", "t.txt", "", dir_ / "t.txt").Model("smol", full);
  auto* const choice = spec.mutable_multiple_choice();
  choice->set_prompt("{question}\n{choices}\nAnswer:");
  choice->set_continuation(plugins::evaluate::v1::CONTINUATION_LETTER);
  choice->set_delimiter("");
  choice->mutable_questions()->set_max_questions(2);
  spec.set_context(16);
  const PluginRun run = driver.Run("evaluate", spec, dir_ / "staging");
  ASSERT_EQ(run.error(), "");
  const auto result = run.Result<EvaluateResult>();
  EXPECT_EQ(result.perplexity_size(), 1);
  EXPECT_EQ(result.settings().context(), 16u);
  EXPECT_EQ(result.multiple_choice().delimiter(), "");
  EXPECT_EQ(result.multiple_choice().questions().questions(), 2u);
  EXPECT_EQ(result.multiple_choice().scores(0).context(), 16u);
  EXPECT_EQ(result.multiple_choice().scores(0).truncated(), 2u);
  EXPECT_THAT(run.log, ::testing::Contains(HasSubstr("2 of 2 questions are longer than the context of 16 tokens")));
}

TEST_F(QuestionsPluginTest, AnswersInWordsAreStoredAndCounted) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  const PluginRun trimmed = Import(TinyModel(Trimmed(), 0), "trimmed");
  for (const bool raw : {false, true}) {
    EvaluateSpec spec;
    PluginDriver driver = WithQuestions("q.jsonl", kQuestions, &spec);
    auto* const answers = spec.mutable_generated_answers();
    *answers->mutable_questions() = spec.multiple_choice().questions();
    spec.clear_multiple_choice();
    answers->set_raw(raw);
    answers->set_max_tokens(7);
    if (!raw) answers->set_system("Trả lời ngắn.");
    driver.Model("smol", full).Model("smol-envi", trimmed);
    EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
    const PluginRun run = driver.Run("evaluate", spec, dir_ / (raw ? "raw" : "chat"));
    ASSERT_EQ(run.error(), "");
    const auto result = run.Result<EvaluateResult>().generated_answers();
    EXPECT_EQ(result.questions().questions(), 3u);
    EXPECT_THAT(result.prompt(), HasSubstr("{question}\n{choices}\n"));
    EXPECT_EQ(result.stop_size(), raw ? 2 : 0);
    ASSERT_EQ(result.scores_size(), 2);
    const std::vector<std::string> lines =
        absl::StrSplit(run.FileContent("measured-answers.jsonl"), '\n', absl::SkipEmpty());
    ASSERT_EQ(lines.size(), 4u);
    EXPECT_EQ(nlohmann::json::parse(lines[0])["metrics"], nlohmann::json({"accuracy"}));
    for (int s = 0; s < 2; ++s) {
      // What a random model says is rarely a letter: the counts hold whatever it says.
      uint64_t right = 0, none = 0, cut = 0, tokens = 0;
      for (size_t i = 1; i < lines.size(); ++i) {
        const auto line = nlohmann::json::parse(lines[i]);
        EXPECT_TRUE(line["text"][s].is_string());
        EXPECT_EQ(line["accuracy"][s], line["chosen"][s] == line["answer"] ? 1 : 0);
        right += line["accuracy"][s].get<uint64_t>();
        none += line["chosen"][s].is_null();
        cut += line["cut"][s].get<bool>();
        tokens += line["tokens"][s].get<uint64_t>();
      }
      const auto& scores = result.scores(s);
      EXPECT_NEAR(scores.accuracy().value(), right / 3.0, 1e-15);
      EXPECT_EQ(scores.unparseable(), none);
      EXPECT_NEAR(scores.accuracy_parsed().value(), none == 3 ? 0 : right / (3.0 - none), 1e-15);
      EXPECT_EQ(scores.cut(), cut);
      EXPECT_EQ(scores.tokens(), tokens);
      EXPECT_LE(tokens, 21u);
      EXPECT_GE(tokens, 3u);
    }
  }
}

TEST_F(QuestionsPluginTest, AnswersNeedATemplateOrRaw) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  auto* const answers = spec.mutable_generated_answers();
  answers->set_raw(true);
  answers->set_system("s");
  answers->set_max_tokens(1 << 20);
  answers->add_stop("");
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", spec),
              ElementsAre(HasSubstr("generated_answers.questions.path: no questions"),
                          HasSubstr("generated_answers.system: a system message needs"),
                          HasSubstr("generated_answers.max_tokens: 1048576 is more than 65536"),
                          HasSubstr("generated_answers.stop[0]: is empty")));
  EvaluateSpec bare;
  PluginDriver driver = WithQuestions("q.jsonl", kQuestions, &bare);
  *bare.mutable_generated_answers()->mutable_questions() = bare.multiple_choice().questions();
  bare.clear_multiple_choice();
  const PluginRun without = Import(TinyModel(Full(), 0), "without", /*chat=*/false);
  EXPECT_THAT(driver.Model("bare", without).Run("evaluate", bare, dir_ / "bare").error(),
              AllOf(HasSubstr("bare: "), HasSubstr("set raw: true to go on from prompts as they stand")));
  EvaluateSpec longer;
  const std::string question =
      StrCat("{\"question\": \"", std::string(3000, 'x'), "\", \"choices\": [\"x\", \"y\"], \"answer\": 0}");
  PluginDriver beyond = WithQuestions("long.jsonl", question, &longer);
  *longer.mutable_generated_answers()->mutable_questions() = longer.multiple_choice().questions();
  longer.clear_multiple_choice();
  EXPECT_THAT(beyond.Model("smol", full).Run("evaluate", longer, dir_ / "long").error(),
              AllOf(HasSubstr("\"long.jsonl\" line 1"), HasSubstr("are more than the 2048 positions")));
}

TEST_F(QuestionsPluginTest, ASpecThatMakesNoSenseIsFoundAtSubmit) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  auto* const choice = spec.mutable_multiple_choice();
  choice->set_prompt("{question");
  choice->set_continuation(plugins::evaluate::v1::CONTINUATION_LETTER);
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", spec),
              ElementsAre(HasSubstr("multiple_choice.questions.path: no questions"),
                          HasSubstr("multiple_choice.prompt: the brace at byte 0 has no partner"),
                          HasSubstr("multiple_choice.prompt: letters mean nothing")));
}

TEST_F(QuestionsPluginTest, WhatSaysHowTextIsScoredNeedsText) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  PluginDriver driver = WithQuestions("q.jsonl", kQuestions, &spec);
  driver.Model("smol", full);
  spec.set_context(64);  // The questions', too.
  EXPECT_THAT(driver.Check("evaluate", spec), ElementsAre());
  spec.set_convention(plugins::evaluate::v1::CONVENTION_HF_STRIDED);
  spec.set_stride(8);
  spec.set_max_tokens(9);
  spec.set_top_k(3);
  EXPECT_THAT(driver.Check("evaluate", spec),
              ElementsAre(HasSubstr("params.convention: says how data is scored, and there is none"),
                          HasSubstr("params.stride: says"), HasSubstr("params.max_tokens: says"),
                          HasSubstr("params.top_k: says")));
  EvaluateSpec speed;
  speed.mutable_speed();
  speed.set_context(64);
  EXPECT_THAT(PluginDriver().Model("smol", full).Check("evaluate", speed),
              ElementsAre(HasSubstr("params.context: says how data is scored")));
}

TEST_F(QuestionsPluginTest, FieldsAndTheAnswersFormAreThoseOfTheSpec) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  EvaluateSpec spec;
  PluginDriver driver =
      WithQuestions("q.jsonl", R"({"q": "blood?", "options": ["O", "A", "B", "AB"], "right": "B"})", &spec);
  auto* const questions = spec.mutable_multiple_choice()->mutable_questions();
  questions->set_question_field("q");
  questions->set_choices_field("options");
  questions->set_answer_field("right");
  driver.Model("smol", full);
  EXPECT_THAT(driver.Run("evaluate", spec, dir_ / "ambiguous").error(), HasSubstr("set answer_form"));
  for (const auto& [form, letter] : {std::pair(plugins::evaluate::v1::ANSWER_FORM_LETTER, "B"),
                                     std::pair(plugins::evaluate::v1::ANSWER_FORM_TEXT, "C")}) {
    questions->set_answer_form(form);
    const PluginRun run = driver.Run("evaluate", spec, dir_ / letter);
    ASSERT_EQ(run.error(), "");
    const std::vector<std::string> lines =
        absl::StrSplit(run.FileContent("measured-choices.jsonl"), '\n', absl::SkipEmpty());
    EXPECT_EQ(nlohmann::json::parse(lines[1])["answer"], letter);
    const auto read = run.Result<EvaluateResult>().multiple_choice().questions();
    EXPECT_EQ(read.question_field(), "q");
    EXPECT_EQ(read.choices_field(), "options");
    EXPECT_EQ(read.answer_field(), "right");
    EXPECT_EQ(read.answer_form(), form);
  }
}

TEST_F(QuestionsPluginTest, PromptSystemAndStopShapeTheAnswers) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  int staging = 0;
  const auto text = [&](const std::string& prompt, const std::string& system, const std::string& stop) {
    EvaluateSpec spec;
    const std::string name = StrCat("shape", ++staging);
    PluginDriver driver = WithQuestions(name + ".jsonl", kQuestions, &spec);
    auto* const answers = spec.mutable_generated_answers();
    *answers->mutable_questions() = spec.multiple_choice().questions();
    spec.clear_multiple_choice();
    answers->set_prompt(prompt);
    answers->set_system(system);
    answers->set_max_tokens(24);
    if (!stop.empty()) answers->add_stop(stop);
    const PluginRun run = driver.Model("smol", full).Run("evaluate", spec, dir_ / name);
    EXPECT_EQ(run.error(), "");
    const std::vector<std::string> lines =
        absl::StrSplit(run.FileContent("measured-answers.jsonl"), '\n', absl::SkipEmpty());
    return nlohmann::json::parse(lines[1])["text"][0].get<std::string>();
  };
  const std::string plain = text("{question}", "", "");
  EXPECT_NE(text("{question} {choices}", "", ""), plain);
  EXPECT_NE(text("{question}", "the thin mouse", ""), plain);
  // Ends before the first ASCII letter or mark behind its beginning.
  size_t at = 1;
  while (at < plain.size() && (plain[at] <= 0x20 || plain[at] == 0x7f || static_cast<signed char>(plain[at]) < 0)) ++at;
  ASSERT_LT(at, plain.size()) << plain;
  const std::string stop = plain.substr(at, 1);
  EXPECT_EQ(text("{question}", "", stop), plain.substr(0, plain.find(stop)));
}

TEST_F(QuestionsPluginTest, ErrorsTellTheLine) {
  const PluginRun full = Import(TinyModel(Full(), 0), "full");
  int staging = 0;
  const auto error = [&](const std::string& text) {
    EvaluateSpec spec;
    PluginDriver driver = WithQuestions(StrCat("q", ++staging, ".jsonl"), text, &spec);
    return driver.Model("smol", full).Run("evaluate", spec, dir_ / StrCat(staging)).error();
  };
  const std::string good = R"({"question": "q", "choices": ["x", "y"], "answer": 0})";
  EXPECT_THAT(error(good + "\n" + R"({"question": "q", "choices": ["x"], "answer": 0})"),
              AllOf(HasSubstr("params.multiple_choice.questions.path[0]"), HasSubstr("\"q1.jsonl\" line 2"),
                    HasSubstr("this one has 1")));
  EXPECT_THAT(error("{}\n"), AllOf(HasSubstr("line 1"), HasSubstr("there is no field \"choices\"")));
  EXPECT_THAT(error("nonsense\n"), HasSubstr("\"q3.jsonl\" line 1 is not JSON"));
  EXPECT_THAT(error("\n\n"), HasSubstr("params.multiple_choice.questions: no question in it"));
  EXPECT_THAT(error("{\"question\": \"\xff\"}"), HasSubstr("not UTF-8 at byte 14"));
}

}  // namespace
}  // namespace editd::evaluate
