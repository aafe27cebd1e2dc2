#include "plugins/lib/formats/json_spans.h"

#include "storage/base/testing.h"

namespace editd::formats {
namespace {

using ::testing::HasSubstr;

TEST(JsonSpans, ValuesKeepTheirBytes) {
  const std::string text = R"( { "a" : [1, {"b": "x,]}"} ] , "c":1.50e3,"d\"e": null } )";
  ASSERT_OK_AND_ASSIGN(const auto members, JsonObject(text));
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].value, R"([1, {"b": "x,]}"} ])");
  EXPECT_EQ(JsonFind(members, "c"), "1.50e3");
  EXPECT_EQ(members[2].key, R"("d\"e")");
  ASSERT_OK_AND_ASSIGN(const auto elements, JsonArray(members[0].value));
  EXPECT_EQ(elements[1], R"({"b": "x,]}"})");
}

TEST(JsonSpans, BrokenTextIsRefusedWithItsOffset) {
  for (const char* text : {"{", "{\"a\"", "{\"a\":}", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":\"x", "[1", ""}) {
    EXPECT_THAT(JsonObject(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not JSON at byte"))) << text;
  }
  EXPECT_THAT(JsonArray(std::string(100000, '[')), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("deeply")));
}

TEST(JsonSpans, StringsLoseTheirEscapes) {
  ASSERT_OK_AND_ASSIGN(const std::string plain, JsonUnquote("\"Ġthực\""));
  EXPECT_EQ(plain, "Ġthực");
  ASSERT_OK_AND_ASSIGN(const std::string escaped, JsonUnquote(R"("\u0120a\n\"")"));
  EXPECT_EQ(escaped, "Ġa\n\"");
  EXPECT_EQ(JsonQuote("a\"\n"), R"("a\"\n")");
}

TEST(JsonSpans, SpliceReplacesInAnyOrder) {
  const std::string text = R"({"a":1,"b":2,"c":3})";
  ASSERT_OK_AND_ASSIGN(const auto members, JsonObject(text));
  JsonSplice splice(text);
  splice.Replace(members[2].value, "[9]");
  splice.Replace(members[0].value, "");
  EXPECT_EQ(splice.Apply(), R"({"a":,"b":2,"c":[9]})");
}

}  // namespace
}  // namespace editd::formats
