// Runs a template's tree.
//
// Every statement, expression and element counts as a step, and steps, the output's size and the depth of calls are
// bounded: a template from anywhere ends soon. Names live in scopes as in Jinja: a loop's turn, a macro and a block
// that is set have their own; {% if %} has none.
//
// Thread-compatible; one Interpreter a rendering.
#ifndef EDITD_PLUGINS_LIB_JINJA_INTERPRETER_H_
#define EDITD_PLUGINS_LIB_JINJA_INTERPRETER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plugins/lib/jinja/ast.h"
#include "plugins/lib/jinja/value.h"

namespace editd::jinja {

// `item in container`. Throws for what contains nothing.
bool Contains(const Value& container, const Value& item);

class Interpreter {
 public:
  explicit Interpreter(Value::Dict variables);

  // Throws Failure with the line.
  void Run(const Body& body);
  std::string TakeOutput() { return std::move(out_); }
  // What {% generation %} blocks wrote: [begin, end) in bytes of the output.
  const std::vector<std::pair<size_t, size_t>>& generations() const { return generations_; }

  // Counts work; throws when it is too much.
  void Step(int64_t count = 1);
  Value Arithmetic(const std::string& op, const Value& left, const Value& right);
  Value CallMacro(const Statement& macro, const Arguments& arguments);

 private:
  struct Scope {
    Scope* outer;
    std::vector<std::pair<std::string, Value>> names;
  };
  class ScopeGuard;
  enum class Flow { kNext, kBreak, kContinue };

  Flow RunBody(const Body& body);
  Flow RunStatement(const Statement& statement);
  Flow RunFor(const Statement& statement);
  void Assign(const Target& target, const Value& value);
  // What a body writes, in a scope of its own.
  std::string Captured(const Body& body);
  void Write(std::string_view text);

  Value Evaluate(const Expression& e);
  Value EvaluateParts(const Expression& e);
  Value Lookup(const std::string& name);
  Value Slice(const Expression& e);
  Value Call(const Expression& e);
  bool CompareChain(const Expression& e);
  Arguments EvaluateArguments(const Expression& e);

  Scope globals_{nullptr, {}};
  Scope* scope_ = &globals_;
  std::string out_;
  std::vector<std::pair<size_t, size_t>> generations_;
  int64_t steps_ = 0;
  int depth_ = 0;
  int captures_ = 0;  // Where the output is not the rendering's own.
};

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_INTERPRETER_H_
