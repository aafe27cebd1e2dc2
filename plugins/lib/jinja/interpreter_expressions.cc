#include <algorithm>
#include <cmath>

#include "plugins/lib/jinja/builtins.h"
#include "plugins/lib/jinja/interpreter.h"
#include "storage/base/strings.h"

namespace editd::jinja {

bool Contains(const Value& container, const Value& item) {
  if (container.text()) {
    if (!item.text()) throw Failure{StrCat("'in' of a text wants a text, not ", item.TypeName())};
    return container.AsText().find(item.AsText()) != std::string::npos;
  }
  if (container.dict()) return container.Find(item) != nullptr;
  if (container.is_namespace()) throw Failure{"a namespace cannot be searched"};
  const Value::List items = container.Elements();
  return std::any_of(items.begin(), items.end(), [&](const Value& other) { return Equal(item, other); });
}

Value Interpreter::Lookup(const std::string& name) {
  for (Scope* scope = scope_; scope != nullptr; scope = scope->outer) {
    for (const auto& [known, value] : scope->names) {
      if (known == name) return value;
    }
  }
  return GlobalFunction(name);
}

Value Interpreter::Evaluate(const Expression& e) {
  try {
    Step();
    return EvaluateParts(e);
  } catch (Failure& failure) {
    if (failure.line == 0) failure.line = e.line;
    throw;
  }
}

Value Interpreter::EvaluateParts(const Expression& e) {
  using Kind = Expression::Kind;
  switch (e.kind) {
    case Kind::kConstant:
      return e.constant;
    case Kind::kName:
      return Lookup(e.text);
    case Kind::kList:
    case Kind::kTuple: {
      Value::List items;
      for (const auto& part : e.parts) items.push_back(Evaluate(*part));
      return Value::OfList(std::move(items), e.kind == Kind::kTuple ? ListKind::kTuple : ListKind::kList);
    }
    case Kind::kDict: {
      Value::Dict items;
      for (size_t i = 0; i < e.parts.size(); i += 2) {
        Value key = Evaluate(*e.parts[i]), value = Evaluate(*e.parts[i + 1]);
        if (key.list() || key.dict()) throw Failure{StrCat("a ", key.TypeName(), " cannot be a key")};
        const auto found =
            std::find_if(items.begin(), items.end(), [&](const auto& item) { return Equal(item.first, key); });
        if (found != items.end()) {
          found->second = std::move(value);
        } else {
          items.emplace_back(std::move(key), std::move(value));
        }
      }
      return Value::OfDict(std::move(items));
    }
    case Kind::kAttribute:
      return Attribute(Evaluate(*e.parts[0]), e.text);
    case Kind::kItem: {
      const Value object = Evaluate(*e.parts[0]);
      return Item(object, Evaluate(*e.parts[1]));
    }
    case Kind::kSlice:
      return Slice(e);
    case Kind::kCall:
      return Call(e);
    case Kind::kFilter: {
      const Value value = Evaluate(*e.parts[0]);
      return ApplyFilter(this, e.text, value, EvaluateArguments(e));
    }
    case Kind::kTest: {
      const Value value = Evaluate(*e.parts[0]);
      return ApplyTest(e.text, value, EvaluateArguments(e));
    }
    case Kind::kNot:
      return !Evaluate(*e.parts[0]).True();
    case Kind::kNegative:
    case Kind::kPositive: {
      const Value value = Evaluate(*e.parts[0]);
      if (!value.number()) throw Failure{StrCat("a ", value.TypeName(), " has no sign")};
      if (value.real()) return e.kind == Kind::kNegative ? -value.AsDouble() : value.AsDouble();
      return Arithmetic(e.kind == Kind::kNegative ? "-" : "+", 0, value);
    }
    case Kind::kAnd: {
      Value left = Evaluate(*e.parts[0]);
      return left.True() ? Evaluate(*e.parts[1]) : left;
    }
    case Kind::kOr: {
      Value left = Evaluate(*e.parts[0]);
      return left.True() ? left : Evaluate(*e.parts[1]);
    }
    case Kind::kIf:
      if (Evaluate(*e.parts[1]).True()) return Evaluate(*e.parts[0]);
      return e.parts[2] != nullptr ? Evaluate(*e.parts[2]) : Value(Undefined{});
    case Kind::kCompare:
      return CompareChain(e);
    case Kind::kArithmetic: {
      const Value left = Evaluate(*e.parts[0]);
      return Arithmetic(e.text, left, Evaluate(*e.parts[1]));
    }
    case Kind::kConcat: {
      std::string out;
      for (const auto& part : e.parts) {
        out += Evaluate(*part).Str();
        CheckSize(static_cast<int64_t>(out.size()), kLargestText);
      }
      return out;
    }
  }
  return Undefined{};
}

bool Interpreter::CompareChain(const Expression& e) {
  Value left = Evaluate(*e.parts[0]);
  for (size_t i = 0; i < e.operators.size(); ++i) {
    Value right = Evaluate(*e.parts[i + 1]);
    const std::string& op = e.operators[i];
    const auto order = [&] {
      for (const Value* v : {&left, &right}) {
        if (v->undefined()) throw Failure{StrCat("\"", v->undefined_name(), "\" is undefined")};
      }
      return Compare(left, right);
    };
    const bool nan = (left.real() && std::isnan(left.AsDouble())) || (right.real() && std::isnan(right.AsDouble()));
    bool holds;
    if (op == "==") {
      holds = Equal(left, right);
    } else if (op == "!=") {
      holds = !Equal(left, right);
    } else if (op == "in" || op == "not in") {
      holds = Contains(right, left) == (op == "in");
    } else if (const int o = order(); nan) {
      holds = false;
    } else {
      holds = op == "<" ? o < 0 : op == ">" ? o > 0 : op == "<=" ? o <= 0 : o >= 0;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::Slice(const Expression& e) {
  const Value object = Evaluate(*e.parts[0]);
  if (object.undefined()) throw Failure{StrCat("\"", object.undefined_name(), "\" is undefined")};
  if (!object.indexed() && !object.text()) {
    if (e.parts[0]->kind == Expression::Kind::kConstant) return Undefined{};  // Jinja folds constants so.
    throw Failure{StrCat("a ", object.TypeName(), " cannot be sliced")};
  }
  const auto bound = [&](size_t part, int64_t* out) {
    if (e.parts[part] == nullptr) return false;
    const Value value = Evaluate(*e.parts[part]);
    if (value.none()) return false;
    if (!value.integer()) throw Failure{"a slice's bounds are whole numbers"};
    *out = value.AsInteger();
    return true;
  };
  const Value::List items = object.Elements();
  const int64_t length = static_cast<int64_t>(items.size());
  int64_t step = 1;
  bound(3, &step);
  if (step == 0) throw Failure{"a slice's step is 0"};
  int64_t begin = step > 0 ? 0 : length - 1, end = step > 0 ? length : -1;
  const auto clamp = [&](int64_t i) {
    if (i < 0) i = std::max<int64_t>(i, -length - 1) + length;
    return step > 0 ? std::clamp<int64_t>(i, 0, length) : std::clamp<int64_t>(i, -1, length - 1);
  };
  int64_t given;
  if (bound(1, &given)) begin = clamp(given);
  if (bound(2, &given)) end = clamp(given);
  Value::List out;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    out.push_back(items[i]);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  if (object.list()) return Value::OfList(std::move(out), object.list_kind());
  std::string text;
  for (const Value& c : out) text += c.AsText();
  return text;
}

Arguments Interpreter::EvaluateArguments(const Expression& e) {
  Arguments out;
  for (size_t i = 1; i < e.parts.size(); ++i) out.places.push_back(Evaluate(*e.parts[i]));
  for (const auto& [name, value] : e.named) out.names.emplace_back(name, Evaluate(*value));
  return out;
}

Value Interpreter::Call(const Expression& e) {
  const Value function = Evaluate(*e.parts[0]);
  const Expression& callee = *e.parts[0];
  if (function.undefined()) {
    throw Failure{StrCat("\"", callee.text.empty() ? function.undefined_name() : callee.text, "\" is undefined")};
  }
  if (!function.callable()) throw Failure{StrCat("a ", function.TypeName(), " cannot be called")};
  return function.AsCallable()->Call(this, EvaluateArguments(e));
}

Value Interpreter::Arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (op == "%" && a.text()) throw Failure{"the operator % on a text is not supported"};
  for (const Value* v : {&a, &b}) {
    if (v->undefined()) throw Failure{StrCat("\"", v->undefined_name(), "\" is undefined")};
  }
  const auto no = [&] {
    return Failure{StrCat("the operator ", op, " does not take a ", a.TypeName(), " and a ", b.TypeName())};
  };
  if (op == "+" && a.text() && b.text()) {
    CheckSize(static_cast<int64_t>(a.AsText().size() + b.AsText().size()), kLargestText);
    Step(static_cast<int64_t>(a.AsText().size()) / 1024);
    return a.AsText() + b.AsText();
  }
  if (op == "+" && a.indexed() && b.indexed() && a.list_kind() == b.list_kind()) {
    Value::List out = a.AsList();
    out.insert(out.end(), b.AsList().begin(), b.AsList().end());
    CheckSize(static_cast<int64_t>(out.size()), kLargestList);
    Step(static_cast<int64_t>(out.size()) / 64);
    return Value::OfList(std::move(out), a.list_kind());
  }
  if (op == "*" && ((a.text() || a.list()) != (b.text() || b.list())) && (!a.list() || a.indexed()) &&
      (!b.list() || b.indexed())) {
    const Value& many = a.text() || a.list() ? a : b;
    const Value& times = a.text() || a.list() ? b : a;
    if (!times.integer()) throw no();
    const int64_t count = std::max<int64_t>(0, times.AsInteger());
    const int64_t size = many.text() ? static_cast<int64_t>(many.AsText().size()) : many.Length();
    int64_t all;
    if (__builtin_mul_overflow(size, count, &all)) all = INT64_MAX;
    CheckSize(all, many.text() ? kLargestText : kLargestList);
    if (many.text()) {
      std::string out;
      for (int64_t i = 0; i < count && size > 0; ++i) out += many.AsText();
      return out;
    }
    Value::List out;
    for (int64_t i = 0; i < count && size > 0; ++i) out.insert(out.end(), many.AsList().begin(), many.AsList().end());
    return Value::OfList(std::move(out), many.list_kind());
  }
  if (!a.number() || !b.number()) throw no();
  const bool whole = a.integer() && b.integer();
  const double x = a.AsDouble(), y = b.AsDouble();
  if ((op == "/" || op == "//" || op == "%") && y == 0) throw Failure{"division by zero"};
  if (op == "/") return x / y;
  if (op == "**") {
    if (!whole || b.AsInteger() < 0) {
      const double power = std::pow(x, y);
      if (std::isnan(power) || (std::isinf(power) && !std::isinf(x))) throw Failure{"the result of ** is no number"};
      return power;
    }
    int64_t out = 1;
    for (int64_t i = 0, times = b.AsInteger(), base = a.AsInteger(); i < times; ++i) {
      if (base == 0 || base == 1) {
        out = base;
        break;
      }
      if (__builtin_mul_overflow(out, base, &out) || i > 64) {
        if (base == -1) return times % 2 == 0 ? 1 : -1;
        throw Failure{"a number is too large"};
      }
    }
    return out;
  }
  if (whole) {
    const int64_t i = a.AsInteger(), j = b.AsInteger();
    int64_t out = 0;
    bool over = false;
    if (op == "+") over = __builtin_add_overflow(i, j, &out);
    if (op == "-") over = __builtin_sub_overflow(i, j, &out);
    if (op == "*") over = __builtin_mul_overflow(i, j, &out);
    if (op == "//" || op == "%") {
      if (j == -1) {
        over = op == "//" && __builtin_sub_overflow(int64_t{0}, i, &out);
      } else {
        const int64_t quotient = i / j - ((i % j != 0) && ((i < 0) != (j < 0)));
        out = op == "//" ? quotient : i - quotient * j;
      }
    }
    if (over) throw Failure{"a number is too large"};
    return out;
  }
  if (op == "+") return x + y;
  if (op == "-") return x - y;
  if (op == "*") return x * y;
  const double rest = std::fmod(x, y);
  if (op == "//") return std::floor(x / y);
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

}  // namespace editd::jinja
