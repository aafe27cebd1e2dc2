// {{ value | filter(arguments) }}.
#include <algorithm>
#include <cmath>
#include <map>

#include "plugins/lib/jinja/builtins.h"
#include "plugins/lib/jinja/interpreter.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

using Filter = Value (*)(Interpreter* interpreter, const Value& value, const Arguments& arguments);

// The method of a text as a filter: its subject becomes one.
Value Through(const char* method, const Value& value, const Arguments& arguments) {
  return MethodOf(Value(value.Str()), method).AsCallable()->Call(nullptr, arguments);
}

Value Trim(Interpreter*, const Value& value, const Arguments& arguments) { return Through("strip", value, arguments); }
Value UpperFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  return Through("upper", value, arguments);
}
Value LowerFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  return Through("lower", value, arguments);
}
Value Capitalize(Interpreter*, const Value& value, const Arguments& arguments) {
  return Through("capitalize", value, arguments);
}

// Words begin after "-", brackets and white space.
Value Title(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("title", arguments, {});
  std::string out;
  bool inside = false;
  const std::string text = value.Str();
  for (std::string_view c : Characters(text)) {
    int length;
    const uint32_t code = text::DecodeUtf8(c.data(), c.data() + c.size(), &length);
    const bool between = IsSpace(code) || c == "-" || c == "(" || c == "{" || c == "[" || c == "<";
    out += inside ? Lower(c) : Upper(c);
    inside = !between;
  }
  return out;
}

Value Length(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("length", arguments, {});
  return value.Length();
}

Value JsonFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ascii = bound.Truth(0, false);
  style.sort_keys = bound.Truth(3, false);
  if (bound.Has(1) && !bound[1].none()) {
    style.indented = true;
    style.item_separator = std::string(1, ',');
    if (bound[1].text()) {
      style.indent = bound[1].AsText();
    } else {
      const int64_t width = bound.Integer(1, 0);
      CheckSize(width, 1000);
      style.indent = std::string(std::max<int64_t>(0, width), ' ');
    }
  }
  if (bound.Has(2) && !bound[2].none()) {
    const Value::List both = bound[2].Elements();
    if (both.size() != 2 || !both[0].text() || !both[1].text()) throw Failure{"tojson: \"separators\" are two texts"};
    style.item_separator = both[0].AsText();
    style.key_separator = both[1].AsText();
  }
  std::string out = ToJson(value, style);
  CheckSize(static_cast<int64_t>(out.size()), kLargestText);
  return out;
}

Value JoinFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("join", arguments, {"d", "attribute"});
  const std::string separator = bound.Has(0) ? bound[0].Str() : "";
  std::string out;
  bool first = true;
  for (const Value& item : value.Elements()) {
    if (!first) out += separator;
    first = false;
    out += bound.Has(1) ? AttributePath(item, bound[1]).Str() : item.Str();
    CheckSize(static_cast<int64_t>(out.size()), kLargestText);
  }
  return out;
}

Value Default(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("default", arguments, {"default_value", "boolean"});
  if (value.undefined() || (bound.Truth(1, false) && !value.True())) return bound.Has(0) ? bound[0] : Value("");
  return value;
}

// The rest of a filter's arguments, for the filter or test that it names.
Arguments Rest(const Arguments& arguments, size_t from) {
  return {{arguments.places.begin() + std::min(from, arguments.places.size()), arguments.places.end()},
          arguments.names};
}
std::string NameOf(const Arguments& arguments, size_t at, const char* what) {
  if (arguments.places.size() <= at) return "";
  if (!arguments.places[at].text()) throw Failure{StrCat("the name of a ", what, " is no text")};
  return arguments.places[at].AsText();
}

Value Map(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  Value::List out;
  if (!value.True()) return Value::OfList({}, ListKind::kLazy);  // As in Jinja, whatever it is.
  if (arguments.places.empty()) {
    const Bound bound("map", arguments, {"attribute", "default"});
    for (const Value& item : value.Elements()) {
      const Value found = AttributePath(item, bound[0]);
      out.push_back(found.undefined() && bound.Has(1) ? bound[1] : found);
    }
  } else {
    const std::string name = NameOf(arguments, 0, "filter");
    if (!IsFilter(name)) throw Failure{StrCat("the filter \"", name, "\" is not supported")};
    const Arguments rest = Rest(arguments, 1);
    for (const Value& item : value.Elements()) out.push_back(ApplyFilter(interpreter, name, item, rest));
  }
  return Value::OfList(std::move(out), ListKind::kLazy);
}

template <bool kAttribute, bool kWanted>
Value Choose(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  if (kAttribute && arguments.places.empty()) throw Failure{"selectattr wants an attribute's name"};
  const std::string test = NameOf(arguments, kAttribute, "test");
  if (!test.empty() && !IsTest(test)) throw Failure{StrCat("the test \"", test, "\" is not supported")};
  const Arguments rest = Rest(arguments, kAttribute + 1);
  Value::List out;
  if (!value.True()) return Value::OfList({}, ListKind::kLazy);
  for (const Value& item : value.Elements()) {
    interpreter->Step();
    const Value subject = kAttribute ? AttributePath(item, arguments.places[0]) : item;
    if ((test.empty() ? subject.True() : ApplyTest(test, subject, rest)) == kWanted) out.push_back(item);
  }
  return Value::OfList(std::move(out), ListKind::kLazy);
}

Value ListFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("list", arguments, {});
  return Value::OfList(value.Elements());
}
Value StringFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("string", arguments, {});
  return value.Str();
}

Value IntFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("int", arguments, {"default"});
  if (value.undefined()) throw Failure{StrCat("\"", value.undefined_name(), "\" is undefined")};
  if (value.integer()) return value.AsInteger();
  double number = NAN;
  if (value.real()) number = value.AsDouble();
  if (value.text()) {
    const std::string text(Strip(value.AsText(), true, true));
    char* end = nullptr;
    if (!text.empty() && text.find_first_not_of("0123456789+-.eE") == std::string::npos) {
      const long long whole = std::strtoll(text.c_str(), &end, 10);
      if (*end == '\0') return int64_t{whole};
      number = std::strtod(text.c_str(), &end);
      if (*end != '\0') number = NAN;
    }
  }
  if (std::isnan(number) || std::fabs(number) > 9e18) return bound.Has(0) ? bound[0] : Value(0);
  return static_cast<int64_t>(number);
}

Value FloatFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("float", arguments, {"default"});
  if (value.undefined()) throw Failure{StrCat("\"", value.undefined_name(), "\" is undefined")};
  if (value.number()) return value.AsDouble();
  if (value.text()) {
    const std::string text(Strip(value.AsText(), true, true));
    char* end = nullptr;
    const double number = std::strtod(text.c_str(), &end);
    if (!text.empty() && *end == '\0' && text.find_first_of("xXpP") == std::string::npos) return number;
  }
  return bound.Has(0) ? bound[0] : Value(0.0);
}

template <bool kLast>
Value Edge(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound(kLast ? "last" : "first", arguments, {});
  const Value::List items = value.Elements();
  return items.empty() ? Value(Undefined{kLast ? "last" : "first"}) : kLast ? items.back() : items.front();
}

Value Reverse(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("reverse", arguments, {});
  Value::List items = value.Elements();
  std::reverse(items.begin(), items.end());
  if (!value.text()) return Value::OfList(std::move(items), ListKind::kLazy);
  std::string out;
  for (const Value& item : items) out += item.AsText();
  return out;
}

// What Jinja sorts and compares by: texts without their case.
Value Key(const Value& item, const Bound& bound, size_t attribute, bool case_sensitive) {
  const Value key = bound.Has(attribute) && !bound[attribute].none() ? AttributePath(item, bound[attribute]) : item;
  return key.text() && !case_sensitive ? Value(Lower(key.AsText())) : key;
}

Value Sort(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("sort", arguments, {"reverse", "case_sensitive", "attribute"});
  std::vector<std::pair<Value, Value>> items;
  for (const Value& item : value.Elements()) items.emplace_back(Key(item, bound, 2, bound.Truth(1, false)), item);
  const bool down = bound.Truth(0, false);
  std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
    return down ? Compare(b.first, a.first) < 0 : Compare(a.first, b.first) < 0;
  });
  Value::List out;
  for (auto& item : items) out.push_back(std::move(item.second));
  return Value::OfList(std::move(out));
}

Value Unique(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const Bound bound("unique", arguments, {"case_sensitive", "attribute"});
  Value::List out, seen;
  for (const Value& item : value.Elements()) {
    const Value key = Key(item, bound, 1, bound.Truth(0, false));
    interpreter->Step(static_cast<int64_t>(seen.size()));
    if (std::any_of(seen.begin(), seen.end(), [&](const Value& other) { return Equal(other, key); })) continue;
    seen.push_back(key);
    out.push_back(item);
  }
  return Value::OfList(std::move(out), ListKind::kLazy);
}

Value Items(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("items", arguments, {});
  if (value.undefined()) return Value::OfList({}, ListKind::kLazy);
  if (!value.dict()) throw Failure{"items: can only walk a dict's items"};
  Value::List out;
  for (const auto& [k, v] : value.AsDict()) out.push_back(Value::OfList({k, v}, ListKind::kTuple));
  return Value::OfList(std::move(out), ListKind::kLazy);
}

Value DictSort(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("dictsort", arguments, {"case_sensitive", "by", "reverse"});
  if (!value.dict()) throw Failure{"dictsort: this is no dict"};
  const bool by_value = bound.Text(1, "key") == "value", down = bound.Truth(2, false), exact = bound.Truth(0, false);
  const auto key = [&](const auto& item) {
    const Value& k = by_value ? item.second : item.first;
    return k.text() && !exact ? Value(Lower(k.AsText())) : k;
  };
  Value::Dict items = value.AsDict();
  std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
    return down ? Compare(key(b), key(a)) < 0 : Compare(key(a), key(b)) < 0;
  });
  Value::List out;
  for (const auto& [k, v] : items) out.push_back(Value::OfList({k, v}, ListKind::kTuple));
  return Value::OfList(std::move(out));
}

Value ReplaceFilter(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"});
  return Replaced(value.Str(), bound[0].Str(), bound[1].Str(), bound.Integer(2, -1));
}

Value Absolute(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("abs", arguments, {});
  if (!value.number()) throw Failure{StrCat("abs: a ", value.TypeName(), " is no number")};
  if (value.real()) return std::fabs(value.AsDouble());
  if (value.AsInteger() == INT64_MIN) throw Failure{"abs: the number is too large"};
  return value.AsInteger() < 0 ? -value.AsInteger() : value.AsInteger();
}

Value Indent(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound("indent", arguments, {"width", "first", "blank"});
  std::string indent;
  if (bound.Has(0) && bound[0].text()) {
    indent = bound[0].AsText();
  } else {
    const int64_t width = bound.Integer(0, 4);
    CheckSize(width, 1000);
    indent = std::string(std::max<int64_t>(0, width), ' ');
  }
  const bool blank = bound.Truth(2, false);
  if (!value.text()) throw Failure{StrCat("indent: a ", value.TypeName(), " is no text")};
  std::string out = bound.Truth(1, false) ? indent : "";
  const Value lines = Through("splitlines", Value(value.Str() + "\n"), {});
  for (size_t i = 0; i < lines.AsList().size(); ++i) {
    const std::string& line = lines.AsList()[i].AsText();
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !line.empty())) out += indent;
    out += line;
    CheckSize(static_cast<int64_t>(out.size()), kLargestText);
  }
  return out;
}

Value Sum(Interpreter* interpreter, const Value& value, const Arguments& arguments) {
  const Bound bound("sum", arguments, {"attribute", "start"});
  Value out = bound.Has(1) ? bound[1] : Value(0);
  for (const Value& item : value.Elements()) {
    out = interpreter->Arithmetic("+", out, bound.Has(0) && !bound[0].none() ? AttributePath(item, bound[0]) : item);
  }
  return out;
}

template <bool kLargest>
Value Extreme(Interpreter*, const Value& value, const Arguments& arguments) {
  const Bound bound(kLargest ? "max" : "min", arguments, {"case_sensitive", "attribute"});
  Value best = Undefined{"no item"}, best_key;
  for (const Value& item : value.Elements()) {
    const Value key = Key(item, bound, 1, bound.Truth(0, false));
    if (best.undefined() || (kLargest ? Compare(key, best_key) > 0 : Compare(key, best_key) < 0)) {
      best = item;
      best_key = key;
    }
  }
  return best;
}

// Only at the end of what is printed (the parser sees to that): there nothing is escaped, and it changes nothing.
Value Safe(Interpreter*, const Value& value, const Arguments& arguments) {
  Bound("safe", arguments, {});
  return value.Str();
}

const std::map<std::string, Filter, std::less<>>& Filters() {
  static const auto* const all = new std::map<std::string, Filter, std::less<>>{
      {"abs", Absolute},
      {"capitalize", Capitalize},
      {"count", Length},
      {"d", Default},
      {"default", Default},
      {"dictsort", DictSort},
      {"first", Edge<false>},
      {"float", FloatFilter},
      {"indent", Indent},
      {"int", IntFilter},
      {"items", Items},
      {"join", JoinFilter},
      {"last", Edge<true>},
      {"length", Length},
      {"list", ListFilter},
      {"lower", LowerFilter},
      {"map", Map},
      {"max", Extreme<true>},
      {"min", Extreme<false>},
      {"reject", Choose<false, false>},
      {"rejectattr", Choose<true, false>},
      {"replace", ReplaceFilter},
      {"reverse", Reverse},
      {"safe", Safe},
      {"select", Choose<false, true>},
      {"selectattr", Choose<true, true>},
      {"sort", Sort},
      {"string", StringFilter},
      {"sum", Sum},
      {"title", Title},
      {"tojson", JsonFilter},
      {"trim", Trim},
      {"unique", Unique},
      {"upper", UpperFilter},
  };
  return *all;
}

}  // namespace

bool IsFilter(std::string_view name) { return Filters().contains(name); }

Value ApplyFilter(Interpreter* interpreter, const std::string& name, const Value& value, const Arguments& arguments) {
  interpreter->Step();
  return Filters().at(name)(interpreter, value, arguments);
}

}  // namespace editd::jinja
