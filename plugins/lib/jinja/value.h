// Values of the template language: what Python has, as far as chat templates see it.
//
// Text is UTF-8 and counted by code points. Lists, dicts and texts are shared; only namespaces change. `Failure` is how
// the parts of this folder tell an error to each other; Template turns it into a status.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_JINJA_VALUE_H_
#define EDITD_PLUGINS_LIB_JINJA_VALUE_H_

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace editd::jinja {

// What went wrong; whoever knows the line adds it.
struct Failure {
  std::string message;
  int line = 0;
};

class Value;
class Interpreter;

// Arguments of a call: by place, then by name.
struct Arguments {
  std::vector<Value> places;
  std::vector<std::pair<std::string, Value>> names;
};

// A macro, a function or a method.
class Callable {
 public:
  virtual ~Callable() = default;
  virtual Value Call(Interpreter* interpreter, const Arguments& arguments) = 0;
};

// kLazy: what Python would make while it is read (map, select): always true, without a length. kView: a dict's keys,
// values or items. Neither has elements by number.
enum class ListKind { kList, kTuple, kLazy, kView };

struct Undefined {
  std::string name;  // For messages; may be empty.
};

struct ListBody;
struct DictBody;

class Value {
 public:
  using List = std::vector<Value>;
  using Dict = std::vector<std::pair<Value, Value>>;  // In order of insertion.

  Value() : data_(Undefined{}) {}
  Value(Undefined u) : data_(std::move(u)) {}                                         // NOLINT
  Value(std::nullptr_t) : data_(nullptr) {}                                           // NOLINT: none
  Value(bool b) : data_(b) {}                                                         // NOLINT
  Value(int64_t i) : data_(i) {}                                                      // NOLINT
  Value(int i) : data_(int64_t{i}) {}                                                 // NOLINT
  Value(double d) : data_(d) {}                                                       // NOLINT
  Value(std::string s) : data_(std::make_shared<const std::string>(std::move(s))) {}  // NOLINT
  Value(std::string_view s) : Value(std::string(s)) {}                                // NOLINT
  Value(const char* s) : Value(std::string(s)) {}                                     // NOLINT
  Value(std::shared_ptr<Callable> c) : data_(std::move(c)) {}                         // NOLINT
  static Value OfList(List items, ListKind kind = ListKind::kList);
  static Value OfDict(Dict items);
  static Value OfNamespace(Dict items);
  static Value FromJson(const nlohmann::ordered_json& json);

  bool undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool none() const { return std::holds_alternative<std::nullptr_t>(data_); }
  bool boolean() const { return std::holds_alternative<bool>(data_); }
  bool integer() const { return std::holds_alternative<int64_t>(data_) || boolean(); }  // As in Python.
  bool real() const { return std::holds_alternative<double>(data_); }
  bool number() const { return integer() || real(); }
  bool text() const { return std::holds_alternative<std::shared_ptr<const std::string>>(data_); }
  bool list() const { return std::holds_alternative<std::shared_ptr<ListBody>>(data_); }  // And tuples.
  bool lazy() const;
  bool indexed() const;  // A list or tuple proper.
  bool dict() const;
  bool is_namespace() const;
  bool callable() const { return std::holds_alternative<std::shared_ptr<Callable>>(data_); }

  const std::string& undefined_name() const { return std::get<Undefined>(data_).name; }
  int64_t AsInteger() const { return boolean() ? std::get<bool>(data_) : std::get<int64_t>(data_); }
  double AsDouble() const { return real() ? std::get<double>(data_) : static_cast<double>(AsInteger()); }
  const std::string& AsText() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const List& AsList() const;
  ListKind list_kind() const;
  const Dict& AsDict() const;  // Of a namespace, too.
  Callable* AsCallable() const { return std::get<std::shared_ptr<Callable>>(data_).get(); }
  // The value of a key, or null.
  const Value* Find(const Value& key) const;
  void SetInNamespace(const std::string& name, Value value) const;
  bool Same(const Value& other) const;  // Python's `is`.

  // Python's bool(x), type(x).__name__, str(x), repr(x).
  bool True() const;
  const char* TypeName() const;
  std::string Str() const;
  std::string Repr() const;
  // Elements in order: of a text its characters, of a dict its keys. Throws for what cannot be walked.
  List Elements() const;
  int64_t Length() const;  // Throws.

 private:
  std::variant<Undefined, std::nullptr_t, bool, int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<ListBody>, std::shared_ptr<DictBody>, std::shared_ptr<Callable>>
      data_;
};

struct ListBody {
  Value::List items;
  ListKind kind = ListKind::kList;
};
struct DictBody {
  Value::Dict items;
  bool is_namespace = false;
};

bool Equal(const Value& a, const Value& b);
// Negative, 0, positive. Throws for types without an order.
int Compare(const Value& a, const Value& b);

// json.dumps(x, ensure_ascii=..., indent=..., separators=..., sort_keys=...).
struct JsonStyle {
  bool ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string ToJson(const Value& value, const JsonStyle& style);

// Python's repr of a float.
std::string FloatText(double value);

// Text by code points.
std::vector<std::string_view> Characters(std::string_view text);
int64_t CountCharacters(std::string_view text);
bool IsSpace(uint32_t code_point);  // str.isspace
std::string_view Strip(std::string_view text, bool left, bool right);

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_VALUE_H_
