#include "plugins/lib/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::jinja {

Value Value::OfList(List items, ListKind kind) {
  Value out;
  out.data_ = std::make_shared<ListBody>(ListBody{std::move(items), kind});
  return out;
}
Value Value::OfDict(Dict items) {
  Value out;
  out.data_ = std::make_shared<DictBody>(DictBody{std::move(items), false});
  return out;
}
Value Value::OfNamespace(Dict items) {
  Value out;
  out.data_ = std::make_shared<DictBody>(DictBody{std::move(items), true});
  return out;
}

Value Value::FromJson(const nlohmann::ordered_json& json) {
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      if (json.get<uint64_t>() > INT64_MAX) return json.get<double>();
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_float:
      return json.get<double>();
    case nlohmann::json::value_t::string:
      return json.get<std::string>();
    case nlohmann::json::value_t::array: {
      List items;
      for (const auto& item : json) items.push_back(FromJson(item));
      return OfList(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      Dict items;
      for (const auto& [key, item] : json.items()) items.emplace_back(key, FromJson(item));
      return OfDict(std::move(items));
    }
    default:
      return nullptr;
  }
}

bool Value::lazy() const { return list() && list_kind() == ListKind::kLazy; }
bool Value::indexed() const { return list() && (list_kind() == ListKind::kList || list_kind() == ListKind::kTuple); }
bool Value::dict() const {
  const auto* body = std::get_if<std::shared_ptr<DictBody>>(&data_);
  return body != nullptr && !(*body)->is_namespace;
}
bool Value::is_namespace() const {
  const auto* body = std::get_if<std::shared_ptr<DictBody>>(&data_);
  return body != nullptr && (*body)->is_namespace;
}
const Value::List& Value::AsList() const { return std::get<std::shared_ptr<ListBody>>(data_)->items; }
ListKind Value::list_kind() const { return std::get<std::shared_ptr<ListBody>>(data_)->kind; }
const Value::Dict& Value::AsDict() const { return std::get<std::shared_ptr<DictBody>>(data_)->items; }

const Value* Value::Find(const Value& key) const {
  for (const auto& [k, v] : AsDict()) {
    if (Equal(k, key)) return &v;
  }
  return nullptr;
}

void Value::SetInNamespace(const std::string& name, Value value) const {
  Dict& items = std::get<std::shared_ptr<DictBody>>(data_)->items;
  for (auto& [k, v] : items) {
    if (k.text() && k.AsText() == name) {
      v = std::move(value);
      return;
    }
  }
  items.emplace_back(name, std::move(value));
}

bool Value::Same(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (list()) return &AsList() == &other.AsList();
  if (dict() || is_namespace()) return &AsDict() == &other.AsDict();
  if (callable()) return AsCallable() == other.AsCallable();
  return Equal(*this, other);
}

bool Value::True() const {
  if (undefined() || none()) return false;
  if (integer()) return AsInteger() != 0;
  if (real()) return AsDouble() != 0;
  if (text()) return !AsText().empty();
  if (list()) return lazy() || !AsList().empty();
  if (dict()) return !AsDict().empty();
  return true;
}

const char* Value::TypeName() const {
  if (undefined()) return "Undefined";
  if (none()) return "NoneType";
  if (boolean()) return "bool";
  if (integer()) return "int";
  if (real()) return "float";
  if (text()) return "str";
  if (lazy()) return "generator";
  if (list()) return list_kind() == ListKind::kTuple ? "tuple" : indexed() ? "list" : "dict view";
  if (dict()) return "dict";
  if (is_namespace()) return "Namespace";
  return "function";
}

std::string Value::Str() const {
  if (undefined()) return "";
  if (text()) return AsText();
  return Repr();
}

Value::List Value::Elements() const {
  List out;
  if (undefined()) return out;
  if (list()) return AsList();
  if (text()) {
    for (std::string_view c : Characters(AsText())) out.emplace_back(c);
    return out;
  }
  if (dict()) {
    for (const auto& [key, value] : AsDict()) out.push_back(key);
    return out;
  }
  throw Failure{StrCat("'", TypeName(), "' object is not iterable")};
}

int64_t Value::Length() const {
  if (undefined()) return 0;
  if (list() && !lazy()) return static_cast<int64_t>(AsList().size());
  if (text()) return CountCharacters(AsText());
  if (dict()) return static_cast<int64_t>(AsDict().size());
  throw Failure{StrCat("object of type '", TypeName(), "' has no length")};
}

bool Equal(const Value& a, const Value& b) {
  if (a.number() && b.number()) {
    return a.integer() && b.integer() ? a.AsInteger() == b.AsInteger() : a.AsDouble() == b.AsDouble();
  }
  if (a.text() && b.text()) return a.AsText() == b.AsText();
  if (a.list() && b.list()) {
    if (!a.indexed() || !b.indexed() || a.list_kind() != b.list_kind()) return &a.AsList() == &b.AsList();
    const auto &x = a.AsList(), &y = b.AsList();
    return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), Equal);
  }
  if (a.dict() && b.dict()) {
    if (a.AsDict().size() != b.AsDict().size()) return false;
    return std::all_of(a.AsDict().begin(), a.AsDict().end(), [&](const auto& item) {
      const Value* const other = b.Find(item.first);
      return other != nullptr && Equal(item.second, *other);
    });
  }
  if (a.is_namespace() && b.is_namespace()) return a.Same(b);
  if (a.callable() && b.callable()) return a.Same(b);
  return (a.undefined() && b.undefined()) || (a.none() && b.none());
}

int Compare(const Value& a, const Value& b) {
  if (a.number() && b.number()) {
    if (a.integer() && b.integer()) {
      return a.AsInteger() < b.AsInteger() ? -1 : a.AsInteger() > b.AsInteger();
    }
    return a.AsDouble() < b.AsDouble() ? -1 : a.AsDouble() > b.AsDouble();
  }
  if (a.text() && b.text()) return a.AsText().compare(b.AsText());  // Bytes of UTF-8 stand in the order of code points.
  if (a.indexed() && b.indexed() && a.list_kind() == b.list_kind()) {
    const auto &x = a.AsList(), &y = b.AsList();
    for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!Equal(x[i], y[i])) return Compare(x[i], y[i]);
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  throw Failure{StrCat("'", a.TypeName(), "' and '", b.TypeName(), "' have no order")};
}

std::vector<std::string_view> Characters(std::string_view text) {
  std::vector<std::string_view> out;
  for (size_t i = 0; i < text.size();) {
    int length;
    text::DecodeUtf8(text.data() + i, text.data() + text.size(), &length);
    out.push_back(text.substr(i, length));
    i += length;
  }
  return out;
}

int64_t CountCharacters(std::string_view text) {
  int64_t count = 0;
  for (size_t i = 0; i < text.size(); ++count) {
    int length;
    text::DecodeUtf8(text.data() + i, text.data() + text.size(), &length);
    i += length;
  }
  return count;
}

bool IsSpace(uint32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
         c == 0x202f || c == 0x205f || c == 0x3000;
}

std::string_view Strip(std::string_view text, bool left, bool right) {
  int length;
  while (left && !text.empty() && IsSpace(text::DecodeUtf8(text.data(), text.data() + text.size(), &length))) {
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && (text[begin] & 0xc0) == 0x80) --begin;
    if (!IsSpace(text::DecodeUtf8(text.data() + begin, text.data() + text.size(), &length))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

}  // namespace editd::jinja
