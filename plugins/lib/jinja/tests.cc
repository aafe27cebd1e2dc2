// {{ value is test(arguments) }}.
#include <algorithm>
#include <array>
#include <cmath>

#include "plugins/lib/jinja/builtins.h"
#include "plugins/lib/jinja/interpreter.h"
#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

constexpr std::array<std::string_view, 32> kTests = {
    "boolean",  "callable", "defined", "divisibleby", "eq",        "equalto", "even",        "false",
    "filter",   "float",    "ge",      "gt",          "in",        "integer", "iterable",    "le",
    "lower",    "lt",       "mapping", "ne",          "none",      "number",  "odd",         "sameas",
    "sequence", "string",   "test",    "true",        "undefined", "upper",   "greaterthan", "lessthan"};

}  // namespace

bool IsTest(std::string_view name) { return std::find(kTests.begin(), kTests.end(), name) != kTests.end(); }

bool ApplyTest(const std::string& name, const Value& value, const Arguments& arguments) {
  const auto remainder = [&](const Value& divisor) {
    if (!value.number() || !divisor.number()) throw Failure{StrCat("the test \"", name, "\" wants numbers")};
    if (divisor.AsDouble() == 0) throw Failure{"division by zero"};
    if (!value.integer() || !divisor.integer()) return std::fmod(value.AsDouble(), divisor.AsDouble());
    return divisor.AsInteger() == -1 ? 0.0 : static_cast<double>(value.AsInteger() % divisor.AsInteger());
  };
  if (name == "eq" || name == "equalto" || name == "ne" || name == "ge" || name == "gt" || name == "le" ||
      name == "lt" || name == "greaterthan" || name == "lessthan" || name == "in" || name == "sameas" ||
      name == "divisibleby") {
    const Bound bound(name, arguments, {"other"});
    const Value& other = bound[0];
    if (name == "eq" || name == "equalto") return Equal(value, other);
    if (name == "ne") return !Equal(value, other);
    if (name == "ge") return Compare(value, other) >= 0;
    if (name == "gt" || name == "greaterthan") return Compare(value, other) > 0;
    if (name == "le") return Compare(value, other) <= 0;
    if (name == "lt" || name == "lessthan") return Compare(value, other) < 0;
    if (name == "in") return Contains(other, value);
    if (name == "sameas") return value.Same(other);
    return remainder(other) == 0;
  }
  Bound(name, arguments, {});
  if (name == "defined") return !value.undefined();
  if (name == "undefined") return value.undefined();
  if (name == "none") return value.none();
  if (name == "boolean") return value.boolean();
  if (name == "true") return value.boolean() && value.True();
  if (name == "false") return value.boolean() && !value.True();
  if (name == "integer") return value.integer() && !value.boolean();
  if (name == "float") return value.real();
  if (name == "number") return value.number();
  if (name == "string") return value.text();
  if (name == "mapping") return value.dict();
  if (name == "iterable") return value.text() || value.list() || value.dict() || value.undefined();
  if (name == "sequence") return value.text() || value.indexed() || value.dict() || value.undefined();
  if (name == "callable") return value.callable() || value.undefined();
  if (name == "even") return remainder(2) == 0;
  if (name == "odd") return std::fabs(remainder(2)) == 1;
  if (name == "filter") return IsFilter(value.Str());
  if (name == "test") return IsTest(value.Str());
  const std::string text = value.Str();
  if (name == "lower") return Lower(text) == text && Upper(text) != text;
  return Upper(text) == text && Lower(text) != text;
}

}  // namespace editd::jinja
