// The methods that templates call: "text".strip(), message.items(), ...
#include <algorithm>
#include <map>

#include "plugins/lib/jinja/builtins.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

using TextMethod = Value (*)(const std::string& self, const Arguments& arguments);

// Without characters that stand in `set`, or without white space.
std::string_view StripSet(std::string_view text, const Bound& bound, bool left, bool right) {
  if (!bound.Has(0) || bound[0].none()) return Strip(text, left, right);
  if (!bound[0].text()) throw Failure{"strip: its argument is no text"};
  const auto set = Characters(bound[0].AsText());
  const auto in_set = [&](std::string_view c) { return std::find(set.begin(), set.end(), c) != set.end(); };
  auto characters = Characters(text);
  size_t begin = 0, end = characters.size();
  while (left && begin < end && in_set(characters[begin])) ++begin;
  while (right && end > begin && in_set(characters[end - 1])) --end;
  if (begin == end) return {};
  return {characters[begin].data(),
          static_cast<size_t>(characters[end - 1].data() + characters[end - 1].size() - characters[begin].data())};
}

template <bool kLeft, bool kRight>
Value StripMethod(const std::string& self, const Arguments& arguments) {
  return StripSet(self, Bound("strip", arguments, {"chars"}), kLeft, kRight);
}

Value SplitSpace(std::string_view text, int64_t limit, bool from_right) {
  Value::List out;
  if (!from_right) {
    text = Strip(text, true, false);
    while (!text.empty()) {
      if (limit-- == 0) {
        out.emplace_back(text);  // Python keeps the white space at the end of the rest.
        break;
      }
      size_t end = 0;
      while (end < text.size()) {
        int length;
        if (IsSpace(text::DecodeUtf8(text.data() + end, text.data() + text.size(), &length))) break;
        end += length;
      }
      out.emplace_back(text.substr(0, end));
      text = Strip(text.substr(end), true, false);
    }
    return Value::OfList(std::move(out));
  }
  text = Strip(text, false, true);
  while (!text.empty()) {
    if (limit-- == 0) {
      out.emplace_back(text);
      break;
    }
    auto characters = Characters(text);
    size_t begin = characters.size();
    int length;
    while (begin > 0 &&
           !IsSpace(text::DecodeUtf8(characters[begin - 1].data(),
                                     characters[begin - 1].data() + characters[begin - 1].size(), &length))) {
      --begin;
    }
    const size_t at = begin == 0 ? 0 : static_cast<size_t>(characters[begin].data() - text.data());
    out.emplace_back(text.substr(at));
    text = Strip(text.substr(0, at), false, true);
  }
  std::reverse(out.begin(), out.end());
  return Value::OfList(std::move(out));
}

template <bool kFromRight>
Value Split(const std::string& self, const Arguments& arguments) {
  const Bound bound("split", arguments, {"sep", "maxsplit"});
  int64_t limit = bound.Integer(1, -1);
  if (!bound.Has(0) || bound[0].none()) return SplitSpace(self, limit, kFromRight);
  const std::string separator = bound.Text(0, "");
  if (separator.empty()) throw Failure{"split: the separator is empty"};
  std::string_view text = self;
  Value::List out;
  for (; limit != 0; --limit) {
    const size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    out.emplace_back(kFromRight ? text.substr(at + separator.size()) : text.substr(0, at));
    text = kFromRight ? text.substr(0, at) : text.substr(at + separator.size());
  }
  out.emplace_back(text);
  if (kFromRight) std::reverse(out.begin(), out.end());
  return Value::OfList(std::move(out));
}

template <bool kStart>
Value StartsOrEnds(const std::string& self, const Arguments& arguments) {
  const Bound bound(kStart ? "startswith" : "endswith", arguments, {"prefix"});
  const Value::List any = bound[0].list() ? bound[0].AsList() : Value::List{bound[0]};
  return std::any_of(any.begin(), any.end(), [&](const Value& part) {
    if (!part.text()) throw Failure{StrCat(kStart ? "startswith" : "endswith", ": its argument is no text")};
    return kStart ? self.starts_with(part.AsText()) : self.ends_with(part.AsText());
  });
}

template <bool kFromRight, bool kMustBe>
Value Find(const std::string& self, const Arguments& arguments) {
  const Bound bound("find", arguments, {"sub"});
  const std::string part = bound[0].text() ? bound[0].AsText() : throw Failure{"find: its argument is no text"};
  const size_t at = kFromRight ? self.rfind(part) : self.find(part);
  if (at == std::string::npos) {
    if (kMustBe) throw Failure{"index: the text is not found"};
    return -1;
  }
  return CountCharacters(std::string_view(self).substr(0, at));
}

Value CountText(const std::string& self, const Arguments& arguments) {
  const Bound bound("count", arguments, {"sub"});
  const std::string part = bound[0].text() ? bound[0].AsText() : throw Failure{"count: its argument is no text"};
  if (part.empty()) return CountCharacters(self) + 1;
  int64_t count = 0;
  for (size_t at = 0; (at = self.find(part, at)) != std::string::npos; at += part.size()) ++count;
  return count;
}

Value Replace(const std::string& self, const Arguments& arguments) {
  const Bound bound("replace", arguments, {"old", "new", "count"});
  if (!bound[0].text() || !bound[1].text()) throw Failure{"replace: its arguments are no texts"};
  return Replaced(self, bound[0].AsText(), bound[1].AsText(), bound.Integer(2, -1));
}

std::string Capitalized(std::string_view text) {
  const auto characters = Characters(text);
  if (characters.empty()) return "";
  return Upper(characters[0]) + Lower(text.substr(characters[0].size()));
}

// Letters after what is no letter in capitals.
std::string Titled(std::string_view text) {
  std::string out;
  bool inside = false;
  for (std::string_view c : Characters(text)) {
    const bool letter = Upper(c) != c || Lower(c) != c;
    out += inside ? Lower(c) : Upper(c);
    inside = letter;
  }
  return out;
}

template <std::string (*kFunction)(std::string_view)>
Value Cased(const std::string& self, const Arguments& arguments) {
  Bound("this method", arguments, {});
  return kFunction(self);
}

Value Join(const std::string& self, const Arguments& arguments) {
  const Bound bound("join", arguments, {"iterable"});
  std::string out;
  bool first = true;
  for (const Value& part : bound[0].Elements()) {
    if (!part.text()) throw Failure{StrCat("join: an element is ", part.TypeName(), ", not text")};
    if (!first) out += self;
    first = false;
    out += part.AsText();
    CheckSize(static_cast<int64_t>(out.size()), kLargestText);
  }
  return out;
}

Value SplitLines(const std::string& self, const Arguments& arguments) {
  const Bound bound("splitlines", arguments, {"keepends"});
  Value::List out;
  std::string line;
  const auto characters = Characters(self);
  for (size_t i = 0; i < characters.size(); ++i) {
    int length;
    const uint32_t c = text::DecodeUtf8(characters[i].data(), characters[i].data() + characters[i].size(), &length);
    const bool ends = (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
    if (!ends) {
      line += characters[i];
      continue;
    }
    std::string mark(characters[i]);
    if (c == '\r' && i + 1 < characters.size() && characters[i + 1] == "\n") mark += characters[++i];
    out.emplace_back(bound.Truth(0, false) ? line + mark : line);
    line.clear();
  }
  if (!line.empty()) out.emplace_back(line);
  return Value::OfList(std::move(out));
}

template <bool kPrefix>
Value Remove(const std::string& self, const Arguments& arguments) {
  const Bound bound(kPrefix ? "removeprefix" : "removesuffix", arguments, {"part"});
  const std::string part = bound.Text(0, "");
  if (kPrefix ? !self.starts_with(part) : !self.ends_with(part)) return self;
  return kPrefix ? self.substr(part.size()) : self.substr(0, self.size() - part.size());
}

template <bool kDigits>
Value AllOf(const std::string& self, const Arguments& arguments) {
  Bound("this method", arguments, {});
  const auto characters = Characters(self);
  return !characters.empty() && std::all_of(characters.begin(), characters.end(), [](std::string_view c) {
    int length;
    const uint32_t code = text::DecodeUtf8(c.data(), c.data() + c.size(), &length);
    return kDigits ? (text::CodePointFlags()[code] & text::kNumeric) != 0 &&
                         (code < 0x80 ? code >= '0' && code <= '9' : true)
                   : IsSpace(code);
  });
}

const std::map<std::string, TextMethod, std::less<>>& TextMethods() {
  static const auto* const all = new std::map<std::string, TextMethod, std::less<>>{
      {"strip", StripMethod<true, true>},
      {"lstrip", StripMethod<true, false>},
      {"rstrip", StripMethod<false, true>},
      {"split", Split<false>},
      {"rsplit", Split<true>},
      {"splitlines", SplitLines},
      {"startswith", StartsOrEnds<true>},
      {"endswith", StartsOrEnds<false>},
      {"find", Find<false, false>},
      {"rfind", Find<true, false>},
      {"index", Find<false, true>},
      {"count", CountText},
      {"replace", Replace},
      {"upper", Cased<Upper>},
      {"lower", Cased<Lower>},
      {"capitalize", Cased<Capitalized>},
      {"title", Cased<Titled>},
      {"join", Join},
      {"removeprefix", Remove<true>},
      {"removesuffix", Remove<false>},
      {"isdigit", AllOf<true>},
      {"isspace", AllOf<false>},
  };
  return *all;
}

Value DictMethod(const Value& self, const std::string& name, const Arguments& arguments) {
  if (name == "get") {
    const Bound bound("get", arguments, {"key", "default"});
    const Value* const found = self.Find(bound[0]);
    return found != nullptr ? *found : bound.Has(1) ? bound[1] : Value(nullptr);
  }
  Bound(name, arguments, {});
  Value::List out;
  for (const auto& [key, value] : self.AsDict()) {
    out.push_back(name == "keys" ? key : name == "values" ? value : Value::OfList({key, value}, ListKind::kTuple));
  }
  return name == "copy" ? self : Value::OfList(std::move(out), ListKind::kView);
}

Value ListMethod(const Value& self, const std::string& name, const Arguments& arguments) {
  const Bound bound(name, arguments, {"value"});
  int64_t count = 0;
  for (size_t i = 0; i < self.AsList().size(); ++i) {
    if (!Equal(self.AsList()[i], bound[0])) continue;
    if (name == "index") return static_cast<int64_t>(i);
    ++count;
  }
  if (name == "index") throw Failure{"index: the value is not in the list"};
  return count;
}

bool IsDictMethod(std::string_view name) {
  return name == "items" || name == "keys" || name == "values" || name == "get" || name == "copy";
}

class Method : public Callable {
 public:
  Method(Value self, std::string name) : self_(std::move(self)), name_(std::move(name)) {}
  Value Call(Interpreter*, const Arguments& arguments) override {
    if (self_.text()) return TextMethods().at(name_)(self_.AsText(), arguments);
    return self_.dict() ? DictMethod(self_, name_, arguments) : ListMethod(self_, name_, arguments);
  }

 private:
  const Value self_;
  const std::string name_;
};

}  // namespace

bool IsMethod(std::string_view name) {
  // Of the loop: cycle and changed.
  return TextMethods().contains(name) || IsDictMethod(name) || name == "cycle" || name == "changed";
}

Value MethodOf(const Value& object, const std::string& name) {
  const bool has = (object.text() && TextMethods().contains(name)) || (object.dict() && IsDictMethod(name)) ||
                   (object.indexed() && (name == "index" || name == "count"));
  if (!has) return Undefined{name};
  return Value(std::shared_ptr<Callable>(new Method(object, name)));
}

}  // namespace editd::jinja
