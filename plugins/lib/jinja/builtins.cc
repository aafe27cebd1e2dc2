// Arguments, attributes, global functions.
#include "plugins/lib/jinja/builtins.h"

#include <locale.h>
#include <time.h>
#include <wctype.h>

#include <algorithm>

#include "plugins/lib/jinja/interpreter.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::jinja {

void CheckSize(int64_t size, int64_t limit) {
  if (size > limit) throw Failure{StrCat("the template makes more than ", limit, " bytes or elements")};
}

Bound::Bound(std::string_view function, const Arguments& arguments, std::vector<std::string_view> signature)
    : function_(function), signature_(std::move(signature)), values_(signature_.size()) {
  if (arguments.places.size() > signature_.size()) {
    throw Failure{StrCat(function, " takes ", signature_.size(), " arguments here, not ", arguments.places.size())};
  }
  for (size_t i = 0; i < arguments.places.size(); ++i) values_[i] = &arguments.places[i];
  for (const auto& [name, value] : arguments.names) {
    const size_t at = std::find(signature_.begin(), signature_.end(), name) - signature_.begin();
    if (at == signature_.size()) throw Failure{StrCat(function, " has no argument \"", name, "\" here")};
    if (values_[at] != nullptr) throw Failure{StrCat(function, ": the argument \"", name, "\" is given twice")};
    values_[at] = &value;
  }
}
const Value& Bound::operator[](size_t i) const {
  if (values_[i] == nullptr) throw Failure{StrCat(function_, ": the argument \"", signature_[i], "\" is missing")};
  return *values_[i];
}
int64_t Bound::Integer(size_t i, int64_t otherwise) const {
  if (!Has(i) || values_[i]->none()) return otherwise;
  if (!values_[i]->integer()) throw Failure{StrCat(function_, ": \"", signature_[i], "\" is no whole number")};
  return values_[i]->AsInteger();
}
std::string Bound::Text(size_t i, std::string_view otherwise) const {
  if (!Has(i)) return std::string(otherwise);
  if (!values_[i]->text()) throw Failure{StrCat(function_, ": \"", signature_[i], "\" is no text")};
  return values_[i]->AsText();
}

namespace {

class Function : public Callable {
 public:
  using Body = Value (*)(const Arguments&);
  explicit Function(Body body) : body_(body) {}
  Value Call(Interpreter*, const Arguments& arguments) override { return body_(arguments); }

 private:
  const Body body_;
};

Value Range(const Arguments& arguments) {
  const Bound bound("range", arguments, {"start", "stop", "step"});
  int64_t from = 0, to, step = bound.Integer(2, 1);
  if (bound.Has(1)) {
    if (!bound[0].integer()) throw Failure{"range: \"start\" is no whole number"};
    from = bound[0].AsInteger();
    to = bound.Integer(1, 0);
  } else {
    if (!bound[0].integer()) throw Failure{"range: a bound is no whole number"};
    to = bound[0].AsInteger();
  }
  if (step == 0) throw Failure{"range: \"step\" is 0"};
  Value::List out;
  for (int64_t i = from; step > 0 ? i < to : i > to;) {
    CheckSize(static_cast<int64_t>(out.size()), kLargestList);
    out.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::OfList(std::move(out));
}

Value::Dict DictOf(const Arguments& arguments, std::string_view function) {
  Value::Dict items;
  if (arguments.places.size() > 1) throw Failure{StrCat(function, " takes one dict and names")};
  if (!arguments.places.empty()) {
    if (!arguments.places[0].dict()) throw Failure{StrCat(function, " takes a dict")};
    items = arguments.places[0].AsDict();
  }
  for (const auto& [name, value] : arguments.names) {
    const auto found = std::find_if(items.begin(), items.end(),
                                    [&key = name](const auto& item) { return Equal(item.first, Value(key)); });
    if (found != items.end()) {
      found->second = value;
    } else {
      items.emplace_back(name, value);
    }
  }
  return items;
}
Value Namespace(const Arguments& arguments) { return Value::OfNamespace(DictOf(arguments, "namespace")); }
Value MakeDict(const Arguments& arguments) { return Value::OfDict(DictOf(arguments, "dict")); }

Value RaiseException(const Arguments& arguments) {
  const Bound bound("raise_exception", arguments, {"message"});
  throw Failure{StrCat("the template refuses this: ", bound[0].Str())};
}

Value StrftimeNow(const Arguments& arguments) {
  const Bound bound("strftime_now", arguments, {"format"});
  const std::string format = bound.Text(0, "");
  if (format.empty()) return "";
  const time_t now = ::time(nullptr);
  struct tm local;
  ::localtime_r(&now, &local);
  char out[512];
  CheckSize(static_cast<int64_t>(format.size()), 128);
  return std::string(out, ::strftime(out, sizeof(out), format.c_str(), &local));
}

}  // namespace

Value GlobalFunction(std::string_view name) {
  static const auto* const all = new std::vector<std::pair<std::string_view, Value>>{
      {"range", Value(std::shared_ptr<Callable>(new Function(Range)))},
      {"namespace", Value(std::shared_ptr<Callable>(new Function(Namespace)))},
      {"dict", Value(std::shared_ptr<Callable>(new Function(MakeDict)))},
      {"raise_exception", Value(std::shared_ptr<Callable>(new Function(RaiseException)))},
      {"strftime_now", Value(std::shared_ptr<Callable>(new Function(StrftimeNow)))},
  };
  for (const auto& [known, value] : *all) {
    if (known == name) return value;
  }
  for (const char* lacking : {"lipsum", "cycler", "joiner"}) {
    if (name == lacking) throw Failure{StrCat("the function \"", name, "\" is not supported")};
  }
  return Undefined{std::string(name)};
}

Value Attribute(const Value& object, const std::string& name) {
  if (object.undefined()) throw Failure{StrCat("\"", object.undefined_name(), "\" is undefined")};
  if (object.is_namespace()) {
    const Value* const found = object.Find(name);
    return found != nullptr ? *found : Value(Undefined{name});
  }
  // As in Jinja, a method goes before a key of the same name.
  Value method = MethodOf(object, name);
  if (!method.undefined()) return method;
  if (object.dict()) {
    const Value* const found = object.Find(name);
    if (found != nullptr) return *found;
  }
  return Undefined{name};
}

Value Item(const Value& object, const Value& key) {
  if (object.undefined()) throw Failure{StrCat("\"", object.undefined_name(), "\" is undefined")};
  if (object.dict() || object.is_namespace()) {
    const Value* const found = object.Find(key);
    if (found != nullptr) return *found;
  } else if (key.integer() && (object.indexed() || object.text())) {
    const int64_t length = object.Length(), i = key.AsInteger() + (key.AsInteger() < 0 ? length : 0);
    if (i >= 0 && i < length) return object.list() ? object.AsList()[i] : Value(Characters(object.AsText())[i]);
  }
  if (key.text() && !object.is_namespace()) {
    Value method = MethodOf(object, key.AsText());
    if (!method.undefined()) return method;
  }
  return Undefined{key.text() ? key.AsText() : key.number() ? key.Str() : ""};
}

Value AttributePath(const Value& object, const Value& path) {
  if (path.integer()) return Item(object, path);
  if (!path.text()) throw Failure{"\"attribute\" is no text"};
  Value out = object;
  const std::string& text = path.AsText();
  for (size_t i = 0; i <= text.size();) {
    const size_t end = std::min(text.find('.', i), text.size());
    const std::string part = text.substr(i, end - i);
    const bool number = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == std::string::npos;
    out = Item(out, number ? Value(int64_t{std::stoll(part)}) : Value(part));
    i = end + 1;
  }
  return out;
}

namespace {

std::string Mapped(std::string_view text, bool upper) {
  static const locale_t locale = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    int length;
    uint32_t c = text::DecodeUtf8(text.data() + i, text.data() + text.size(), &length);
    i += length;
    if (upper && c == 0xdf) {
      out += "SS";
      continue;
    }
    if (c < 0x80) {
      c = upper ? (c >= 'a' && c <= 'z' ? c - 32 : c) : (c >= 'A' && c <= 'Z' ? c + 32 : c);
    } else if (locale != nullptr) {
      c = upper ? ::towupper_l(c, locale) : ::towlower_l(c, locale);
    }
    text::AppendUtf8(c, &out);
  }
  return out;
}

}  // namespace

std::string Upper(std::string_view text) { return Mapped(text, true); }
std::string Lower(std::string_view text) { return Mapped(text, false); }

std::string Replaced(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  std::string out;
  if (from.empty()) {  // Between all characters, as Python does it.
    const auto characters = Characters(text);
    for (size_t i = 0; i <= characters.size(); ++i) {
      if (count != 0) out += to;
      if (count > 0) --count;
      if (i < characters.size()) out += characters[i];
      CheckSize(static_cast<int64_t>(out.size()), kLargestText);
    }
    return out;
  }
  while (count != 0) {
    const size_t at = text.find(from);
    if (at == std::string_view::npos) break;
    out += text.substr(0, at);
    out += to;
    text.remove_prefix(at + from.size());
    if (count > 0) --count;
    CheckSize(static_cast<int64_t>(out.size()), kLargestText);
  }
  return out.append(text);
}

}  // namespace editd::jinja
