// Texts that transformers made of conversations; tests/golden/make_chat_templates.py makes them again.
#include "plugins/lib/jinja/template.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::jinja {
namespace {

TEST(Golden, EveryConversationThroughEveryTemplate) {
  const std::string folder = StrCat(EDITD_SOURCE_DIR, "/tests/golden/chat_templates/");
  const auto golden = nlohmann::ordered_json::parse(*ReadWholeFile(folder + "cases.json"));
  int rendered = 0, refused = 0;
  for (const auto& c : golden["cases"]) {
    SCOPED_TRACE(
        StrCat(c["template"].get<std::string>(), " ", c["chat"].get<std::string>(), " ", c["variables"].get<int>()));
    ASSERT_OK_AND_ASSIGN(const Template t, Template::Parse(*ReadWholeFile(folder + c["template"].get<std::string>())));
    nlohmann::ordered_json variables = golden["variables"][c["variables"].get<size_t>()];
    variables["messages"] = golden["chats"][c["chat"].get<std::string>()];
    const auto out = t.Render(variables);
    if (c.contains("error")) {
      EXPECT_FALSE(out.ok()) << out->text;
      ++refused;
      continue;
    }
    ASSERT_OK(out);
    EXPECT_EQ(out->text, c["text"].get<std::string>());
    const auto spans = c["generations"].get<std::vector<std::pair<size_t, size_t>>>();
    EXPECT_EQ(out->generations, spans);
    ++rendered;
  }
  EXPECT_GT(rendered, 400);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace editd::jinja
