#include "plugins/lib/jinja/chat_template.h"

#include <map>

#include "storage/base/testing.h"

namespace editd::jinja {
namespace {

using ::testing::HasSubstr;
using Files = std::map<std::string, std::string, std::less<>>;

absl::StatusOr<ChatTemplate> Of(const Files& files) {
  return ChatTemplate::FromModel([&](std::string_view name) {
    const auto found = files.find(name);
    return found == files.end() ? std::string_view() : std::string_view(found->second);
  });
}

std::string Rendered(const Files& files) {
  const auto chat = Of(files);
  if (!chat.ok()) return std::string(chat.status().message());
  const auto out = chat->Render(nlohmann::ordered_json::parse(R"([{"role": "user", "content": "hi"}])"), true, {});
  return out.ok() ? out->text : std::string(out.status().message());
}

TEST(ChatTemplate, IsFoundWhereTransformersFindsIt) {
  const std::string config = R"({"chat_template": "config", "eos_token": {"content": "</s>"}})";
  EXPECT_EQ(Rendered({{"chat_template.jinja", "file"}, {"tokenizer_config.json", config}}), "file");
  EXPECT_EQ(Rendered({{"tokenizer_config.json", config}}), "config");
  EXPECT_EQ(
      Rendered(
          {{"tokenizer_config.json",
            R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})"}}),
      "d");
  EXPECT_EQ(Rendered({{"chat_template.json", R"({"chat_template": "processor"})"}}), "processor");
  EXPECT_EQ(Of({{"tokenizer_config.json", config}})->eos_token(), "</s>");
}

TEST(ChatTemplate, HasMessagesAndSpecialTokens) {
  const std::string source =
      "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{% if add_generation_prompt %}>{% endif %}"
      "{% if tools is not none %}tools{% endif %}";
  EXPECT_EQ(Rendered({{"chat_template.jinja", source},
                      {"tokenizer_config.json", R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}})"}}),
            "<s>hi</s>>");
  EXPECT_EQ(Rendered({{"chat_template.jinja", source}, {"special_tokens_map.json", R"({"bos_token": "<b>"})"}}),
            "<b>hi>");
}

TEST(ChatTemplate, SaysThatThereIsNone) {
  EXPECT_THAT(Rendered({{"tokenizer_config.json", "{}"}}), HasSubstr("has no chat template"));
  EXPECT_THAT(Rendered({{"tokenizer_config.json", "not json"}}), HasSubstr("has no chat template"));
  EXPECT_EQ(Rendered({{"chat_template.jinja", "{{ x|xmlattr }}"}}),
            "chat template: line 1: the filter \"xmlattr\" is not supported");
}

}  // namespace
}  // namespace editd::jinja
