#include "plugins/lib/formats/json.h"

#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::HasSubstr;

TEST(Json, KeepsTheOrderOfKeys) {
  ASSERT_OK_AND_ASSIGN(const Json value, ParseJson(R"({"b": 1, "a": [true, "\u00e9"]})", "x"));
  EXPECT_EQ(DumpJson(value), "{\n  \"b\": 1,\n  \"a\": [\n    true,\n    \"é\"\n  ]\n}\n");
}

TEST(Json, RefusesWhatIsNoJsonAndSaysWhere) {
  EXPECT_THAT(ParseJson("{\"a\": }", "config.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("config.json: no valid JSON at byte 7")));
  EXPECT_THAT(ParseJson(std::string(100000, '['), "config.json"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("nested deeper")));
}

TEST(Json, StringsAreEscaped) {
  std::string out;
  AppendJsonString(&out, std::string_view("a\"b\\c\n\t\x01\x7fé\0", 12));
  EXPECT_EQ(out, "\"a\\\"b\\\\c\\n\\t\\u0001\x7fé\\u0000\"");
}

TEST(Json, FloatsBecomeTheNumberThatWasMeant) {
  EXPECT_EQ(ShortestDouble(9.999999747378752e-06f), 1e-05);
  EXPECT_EQ(ShortestDouble(100000.0f), 100000.0);
  EXPECT_EQ(ShortestDouble(0.1f), 0.1);
}

}  // namespace
}  // namespace editd::formats
