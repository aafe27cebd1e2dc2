// What the plugin is made of. Probabilities come from transformers' own processors: tests/golden/make_samplers.py.
#include <cmath>

#include "plugins/evaluate/testing.h"
#include "plugins/lib/generate/generator.h"
#include "plugins/lib/generate/prompts.h"
#include "plugins/lib/generate/text_stream.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::generate {
namespace {

using evaluate::Full;
using evaluate::TinyModel;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Sampler, ProbabilitiesAreThoseOfTransformers) {
  const auto golden = nlohmann::json::parse(*ReadWholeFile(EDITD_SOURCE_DIR "/tests/golden/generate/samplers.json"));
  ASSERT_GT(golden.size(), 50u);
  for (const auto& c : golden) {
    SCOPED_TRACE(c["settings"].dump());
    std::vector<float> logits = c["logits"];
    Sampling sampling;
    sampling.temperature = c["settings"].value("temperature", 1.0);
    sampling.top_k = c["settings"].value("top_k", 0);
    sampling.top_p = c["settings"].value("top_p", 0.0);
    sampling.min_p = c["settings"].value("min_p", 0.0);
    Penalize(c["settings"].value("repetition_penalty", 1.0), c["occurred"].get<std::vector<int32_t>>(), logits);
    std::vector<double> probabilities(logits.size());
    for (const auto& [id, p] : Candidates(sampling, logits)) probabilities[id] = p;
    for (size_t i = 0; i < logits.size(); ++i) {
      // Theirs are float32.
      ASSERT_NEAR(probabilities[i], c["probabilities"][i].get<double>(), 1e-6) << i;
    }
  }
}

TEST(Sampler, DrawsAsOftenAsTheProbabilitiesSay) {
  const std::vector<float> logits = {0, 1, 2, -1};
  Sampling sampling;
  sampling.temperature = 1;
  sampling.seed = 7;
  std::vector<int> counts(4);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[Choose(sampling, i % 3, i / 3, logits)];
  // Five standard deviations of a share near a quarter are 0.015.
  for (const auto& [id, p] : Candidates(sampling, logits)) EXPECT_NEAR(counts[id] / double{kDraws}, p, 0.015) << id;
  EXPECT_EQ(Choose(sampling, 1, 2, logits), Choose(sampling, 1, 2, logits));
  EXPECT_NE(Uniform(7, 1, 2), Uniform(7, 2, 1));
  EXPECT_NE(Uniform(7, 1, 2), Uniform(8, 1, 2));
}

TEST(Sampler, GreedyTakesTheFirstOfEquals) { EXPECT_EQ(Choose({}, 0, 0, std::vector<float>{1, 3, 3, 2}), 1); }

class TinyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_ = nn::ParseDecoderConfig(model_.config).value();
    config_.max_position_embeddings = 64;
    tokenizer_ = text::Tokenizer::FromJson(model_.tokenizer).value();
    decoder_ = nn::Decoder::Load(config_, model_.weights->source(), {nn::Compute::kF32, 2, nullptr}).value();
    stepper_ = std::make_unique<nn::Stepper>(decoder_.get(), config_.vocab_size);
  }
  std::vector<Answer> Answers(const std::vector<std::string>& prompts, const Settings& settings,
                              std::vector<std::string>* streamed = nullptr) {
    std::vector<std::vector<int32_t>> ids;
    for (const std::string& prompt : prompts) {
      const auto tokens = tokenizer_->Encode(prompt, false);
      ids.emplace_back(tokens.begin(), tokens.end());
    }
    if (streamed != nullptr) streamed->resize(prompts.size());
    Times times;
    const Listener listener = {[&](size_t prompt, std::string_view text) {
                                 if (streamed != nullptr) (*streamed)[prompt] += text;
                               },
                               [](uint64_t) { return absl::OkStatus(); }};
    return Generate(decoder_.get(), stepper_.get(), *tokenizer_, ids, settings, listener, &times).value();
  }

  TinyModel model_{Full(), 0};
  nn::DecoderConfig config_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<nn::Decoder> decoder_;
  std::unique_ptr<nn::Stepper> stepper_;
};

TEST_F(TinyTest, AnswersDependOnNeitherBatchNorNeighbours) {
  const std::vector<std::string> prompts = {"the cat", "in", "a longer prompt and the end", "x", "the cat"};
  Settings settings;
  settings.sampling = {.temperature = 1.5, .top_k = 40, .repetition_penalty = 1.1, .seed = 3};
  settings.max_tokens = 20;
  settings.batch = 1;
  const auto alone = Answers(prompts, settings);
  settings.batch = 4;
  std::vector<std::string> streamed;
  const auto together = Answers(prompts, settings, &streamed);
  for (size_t i = 0; i < prompts.size(); ++i) {
    EXPECT_EQ(alone[i].tokens, together[i].tokens) << i;
    EXPECT_EQ(streamed[i], together[i].text) << i;
    EXPECT_EQ(together[i].tokens.size(), 20u);
  }
  EXPECT_NE(alone[0].tokens, alone[4].tokens);  // The same prompt in another place draws other numbers.
  settings.sampling.seed = 4;
  EXPECT_NE(Answers(prompts, settings)[0].tokens, alone[0].tokens);
}

TEST_F(TinyTest, AnAnswerEndsForAReason) {
  Settings settings;
  settings.max_tokens = 10;
  const Answer whole = Answers({"the"}, settings)[0];
  EXPECT_EQ(whole.ending, Ending::kMaxTokens);
  EXPECT_EQ(whole.tokens.size(), 10u);
  settings.end_tokens = {whole.tokens[0]};
  EXPECT_EQ(Answers({"the"}, settings)[0].ending, Ending::kEnd);
  EXPECT_EQ(Answers({"the"}, settings)[0].text, "");
  settings = {};
  settings.max_tokens = 1000;
  const Answer full = Answers({"the"}, settings)[0];
  EXPECT_EQ(full.ending, Ending::kContext);
  EXPECT_EQ(full.tokens.size(), 64u);  // One prompt token; the last answer's token needs no position of its own.
  ASSERT_GT(full.text.size(), 8u);
  settings.stops = {"nowhere to be found", full.text.substr(4, 2)};
  std::vector<std::string> streamed;
  const Answer stopped = Answers({"the"}, settings, &streamed)[0];
  EXPECT_EQ(stopped.ending, Ending::kStop);
  EXPECT_EQ(stopped.stop, settings.stops[1]);
  EXPECT_EQ(stopped.text, full.text.substr(0, full.text.find(settings.stops[1])));
  EXPECT_EQ(streamed[0], stopped.text);
}

TEST_F(TinyTest, TextIsShownWhenItIsCertain) {
  const std::vector<std::string> stops = {"STOP"};
  TextStream stream(tokenizer_.get(), &stops);
  std::string shown;
  for (unsigned char byte : std::string("Hu\xE1\xBA\xBF ST")) {
    const auto id = tokenizer_->ByteTokenId(byte);
    ASSERT_TRUE(id.has_value());
    EXPECT_FALSE(stream.Add(*id));
    const std::string piece = stream.Take();
    EXPECT_EQ(piece.find("\xEF\xBF\xBD"), std::string::npos);
    shown += piece;
  }
  EXPECT_EQ(shown, "Huế ");  // "ST" may begin the stop string.
  stream.End();
  EXPECT_EQ(stream.Take(), "ST");
}

TEST_F(TinyTest, PromptsAreReadOrSaidToBeWrong) {
  std::vector<Prompt> prompts;
  ASSERT_OK(ReadPromptFile(
      "params.file[0].path", "p.jsonl",
      "{\"prompt\": \"a\"}\n\n{\"text\": \"b\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"c\"}]}\n",
      &prompts));
  ASSERT_OK(ReadPromptFile("params.file[1].path", "q.txt", "whole\nfile\n", &prompts));
  ASSERT_EQ(prompts.size(), 4u);
  EXPECT_EQ(prompts[1].text, "b");
  EXPECT_EQ(prompts[2].messages[0]["content"], "c");
  EXPECT_EQ(prompts[3].text, "whole\nfile\n");
  // The name does not tell what a file is: the store answers by its bytes.
  ASSERT_OK(ReadPromptFile("params.file[2].path", "r.txt", "\n {\"prompt\": \"d\"}\n{\"text\": \"e\"}", &prompts));
  ASSERT_EQ(prompts.size(), 6u);
  EXPECT_EQ(prompts[5].text, "e");
  const auto error = [](std::string_view path, std::string_view content) {
    std::vector<Prompt> unused;
    return std::string(ReadPromptFile("params.file[0].path", path, content, &unused).message());
  };
  EXPECT_EQ(error("p.jsonl", "{\"prompt\": \"a\"}\n{\"question\": 1}"),
            "params.file[0].path: line 2 of p.jsonl: has none of \"messages\", \"prompt\" and \"text\"");
  EXPECT_THAT(error("p.jsonl", "nonsense"), HasSubstr("line 1 of p.jsonl: is no JSON object"));
  EXPECT_THAT(error("p.jsonl", "{\"messages\": [{\"content\": 1}]}"), HasSubstr("message 0 has no \"role\""));
  EXPECT_THAT(error("p.jsonl", "{\"messages\": [{\"role\": \"user\"}]}"), HasSubstr("message 0 has no \"content\""));
  EXPECT_THAT(error("p.txt", "a\xff"), HasSubstr("is not UTF-8 at byte 1"));
}

TEST_F(TinyTest, PromptsBecomeTokens) {
  const auto chat =
      jinja::ChatTemplate::FromModel([](std::string_view name) -> std::string_view {
        if (name != "chat_template.jinja") return "";
        return "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% "
               "endif %}"
               "{% if messages[0].content == 'bad' %}{{ raise_exception('no bad words') }}{% endif %}{{ mood }}";
      }).value();
  PromptForm form = {tokenizer_.get(), &chat, "", Json{{"mood", "!"}}, "tiny", 40};
  const auto text = [&](const Prompt& prompt) -> std::string {
    const auto ids = Encode(prompt, form);
    if (!ids.ok()) return std::string(ids.status().message());
    return tokenizer_->Decode({ids->begin(), ids->end()}, false);
  };
  EXPECT_EQ(text({"p", "hi", nullptr}), "[user]hi>!");
  form.system = "S";
  EXPECT_EQ(text({"p", "hi", nullptr}), "[system]S[user]hi>!");
  EXPECT_EQ(text({"p", "", Json::parse(R"([{"role": "system", "content": "T"}])")}), "[system]T>!");
  form.system = "";
  EXPECT_EQ(text({"params.prompt[3]", "bad", nullptr}),
            "params.prompt[3]: chat template: line 1: the template refuses this: no bad words");
  EXPECT_EQ(text({"params.prompt[0]", "", nullptr}), "params.prompt[0]: is empty; there is nothing to go on from");
  EXPECT_EQ(text({"params.prompt[0]", std::string(60, 'x'), nullptr}),
            "params.prompt[0]: 68 tokens are more than the 40 positions that tiny knows; shorten it");
  form.chat = nullptr;
  EXPECT_EQ(text({"p", "the cat", nullptr}), "the cat");
  EXPECT_THAT(text({"p", "", Json::array()}), HasSubstr("needs the chat template"));
}

TEST_F(TinyTest, WeightsThatAreNoNumbersAreTold) {
  model_.weights->Set("model.norm.weight", 0, NAN);
  decoder_ = nn::Decoder::Load(config_, model_.weights->source(), {nn::Compute::kF32, 2, nullptr}).value();
  stepper_ = std::make_unique<nn::Stepper>(decoder_.get(), config_.vocab_size);
  Times times;
  const Listener listener = {[](size_t, std::string_view) {}, [](uint64_t) { return absl::OkStatus(); }};
  const auto out = Generate(decoder_.get(), stepper_.get(), *tokenizer_, {{1, 2}}, {}, listener, &times);
  EXPECT_THAT(ToStd(out.status().message()), HasSubstr("prompt 0: logits after 2 tokens are not finite"));
}

}  // namespace
}  // namespace editd::generate
