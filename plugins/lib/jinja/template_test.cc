#include "plugins/lib/jinja/template.h"

#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::jinja {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// The text, or the error.
std::string Try(std::string_view source, std::string_view variables = "{}") {
  const auto parsed = Template::Parse(source);
  if (!parsed.ok()) return StrCat("refused: ", ToStd(parsed.status().message()));
  const auto rendered = parsed->Render(nlohmann::ordered_json::parse(variables));
  return rendered.ok() ? rendered->text : StrCat("error: ", ToStd(rendered.status().message()));
}

TEST(Template, WhiteSpaceGoesAsTransformersSetsIt) {
  EXPECT_EQ(Try("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(Try("a\n  {{- 1 -}}\n  b"), "a1b");
  EXPECT_EQ(Try("a\n  {%+ if true +%}\nb{% endif %}"), "a\n  \nb");
  EXPECT_EQ(Try("a\r\n{# c #}\r\nb\n\n"), "a\nb\n");
}

TEST(Template, ALoopsTurnHasItsOwnNames) {
  EXPECT_EQ(Try("{% set x = 0 %}{% for i in [1, 2] %}{{ x }}{% set x = i %}{{ x }} {% endfor %}{{ x }}"), "01 02 0");
  EXPECT_EQ(Try("{% set n = namespace(x=0) %}{% for i in [1, 2] %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}"), "3");
  EXPECT_EQ(Try("{% if true %}{% set y = 5 %}{% endif %}{{ y }}"), "5");
}

TEST(Template, NumbersAreWrittenAsPythonWritesThem) {
  EXPECT_EQ(Try("{{ 1e16 }} {{ 0.1 }} {{ 1e-5 }} {{ 100.0 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** -1 }}"),
            "1e+16 0.1 1e-05 100.0 -4 2 0.5");
}

TEST(Template, WhatIsNotUnderstoodIsRefusedWithItsLine) {
  EXPECT_EQ(Try("\n\n{{ x | batch(2) }}"), "refused: chat template: line 3: the filter \"batch\" is not supported");
  EXPECT_EQ(Try("{{ x is prime }}"), "refused: chat template: line 1: the test \"prime\" is not supported");
  EXPECT_EQ(Try("a\n{% include 'b' %}"), "refused: chat template: line 2: {% include %} is not supported");
  EXPECT_EQ(Try("{{ x.encode('utf-8') }}"), "refused: chat template: line 1: the method \"encode\" is not supported");
  EXPECT_EQ(Try("{% for a in b recursive %}{% endfor %}"),
            "refused: chat template: line 1: a recursive loop is not supported");
  EXPECT_THAT(Try("{{ ('<' | safe) + 'x' }}"), HasSubstr("\"safe\" inside of an expression is not supported"));
  EXPECT_THAT(Try("{{ '%s' % 'a' }}"), HasSubstr("the operator % on a text is not supported"));
  EXPECT_THAT(Try("{{ f(*x) }}"), HasSubstr("not supported"));
}

TEST(Template, MistakesAreToldWithTheirLine) {
  EXPECT_EQ(Try("{% if x %}\n"), "refused: chat template: line 1: the template ends, and {% elif %} is missing");
  EXPECT_EQ(Try("{{ 'a }}"), "refused: chat template: line 1: a string has no end");
  EXPECT_EQ(Try("{{ (1 }}"), "refused: chat template: line 1: unexpected }");
  EXPECT_EQ(Try("{% nonsense %}"), "refused: chat template: line 1: there is no tag {% nonsense %}");
  EXPECT_EQ(Try("{# no end"), "refused: chat template: line 1: a comment has no end; write #}");
  EXPECT_EQ(Try("\n{{ m.role }}"), "error: chat template: line 2: \"m\" is undefined");
  EXPECT_EQ(Try("{{ 'a' + 1 }}"), "error: chat template: line 1: the operator + does not take a str and a int");
  EXPECT_EQ(Try("{{ raise_exception('no tools') }}"),
            "error: chat template: line 1: the template refuses this: no tools");
  EXPECT_THAT(Try("{{ \"\xff\" }}"), HasSubstr("is not UTF-8"));
}

TEST(Template, NothingRunsForever) {
  EXPECT_THAT(Try("{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}"),
              HasSubstr("takes too long"));
  EXPECT_THAT(Try("{{ 'abc' * 99999999999 }}"), HasSubstr("more than"));
  EXPECT_THAT(Try("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), HasSubstr("too deeply"));
  EXPECT_THAT(Try("{{ " + std::string(500, '-') + "1 }}"), HasSubstr("nested too deeply"));
  EXPECT_THAT(Try("{% set n = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set n.s = n.s + n.s %}{% endfor %}"),
              HasSubstr("more than"));
}

}  // namespace
}  // namespace editd::jinja
