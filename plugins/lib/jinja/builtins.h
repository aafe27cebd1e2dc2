// What the language brings along: filters, tests, methods of texts, dicts and lists, and global functions.
#ifndef EDITD_PLUGINS_LIB_JINJA_BUILTINS_H_
#define EDITD_PLUGINS_LIB_JINJA_BUILTINS_H_

#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/jinja/value.h"

namespace editd::jinja {

bool IsFilter(std::string_view name);
bool IsTest(std::string_view name);
bool IsMethod(std::string_view name);

// All throw Failure.
Value ApplyFilter(Interpreter* interpreter, const std::string& name, const Value& value, const Arguments& arguments);
bool ApplyTest(const std::string& name, const Value& value, const Arguments& arguments);
// Undefined if the type has no such method.
Value MethodOf(const Value& object, const std::string& name);
// range, namespace, dict, raise_exception, strftime_now; undefined for any other name.
Value GlobalFunction(std::string_view name);

// x.name and x[key], undefined where there is none.
Value Attribute(const Value& object, const std::string& name);
Value Item(const Value& object, const Value& key);
// A path as filters take it: "function.name", or a number.
Value AttributePath(const Value& object, const Value& path);

// Arguments matched with a signature; unknown names and too many values are failures.
class Bound {
 public:
  // `signature`: the parameters' names.
  Bound(std::string_view function, const Arguments& arguments, std::vector<std::string_view> signature);
  bool Has(size_t i) const { return values_[i] != nullptr; }
  const Value& operator[](size_t i) const;  // A failure if it was not given.
  int64_t Integer(size_t i, int64_t otherwise) const;
  bool Truth(size_t i, bool otherwise) const { return Has(i) ? values_[i]->True() : otherwise; }
  std::string Text(size_t i, std::string_view otherwise) const;

 private:
  std::string function_;
  std::vector<std::string_view> signature_;
  std::vector<const Value*> values_;
};

// str.upper and str.lower.
std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Replaced(std::string_view text, std::string_view from, std::string_view to, int64_t count);

// A loop's or text's size is bounded, so that a template cannot fill the memory.
inline constexpr int64_t kLargestText = 16 << 20;
inline constexpr int64_t kLargestList = 1 << 20;
void CheckSize(int64_t size, int64_t limit);

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_BUILTINS_H_
