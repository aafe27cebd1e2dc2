// Statements. Expressions: interpreter_expressions.cc.
#include "plugins/lib/jinja/interpreter.h"

#include <algorithm>

#include "plugins/lib/jinja/builtins.h"
#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

constexpr int64_t kMostSteps = 2'000'000;

class Macro : public Callable {
 public:
  explicit Macro(const Statement* statement) : statement_(statement) {}
  Value Call(Interpreter* interpreter, const Arguments& arguments) override {
    return interpreter->CallMacro(*statement_, arguments);
  }

 private:
  const Statement* const statement_;  // Of the template, which outlives the rendering.
};

// loop.cycle(a, b, ...) and loop.changed(x).
class Cycle : public Callable {
 public:
  explicit Cycle(int64_t index) : index_(index) {}
  Value Call(Interpreter*, const Arguments& arguments) override {
    if (arguments.places.empty() || !arguments.names.empty()) throw Failure{"cycle wants values"};
    return arguments.places[index_ % arguments.places.size()];
  }

 private:
  const int64_t index_;
};
class Changed : public Callable {
 public:
  explicit Changed(std::shared_ptr<Value::List> last) : last_(std::move(last)) {}
  Value Call(Interpreter*, const Arguments& arguments) override {
    const bool same = last_->size() == arguments.places.size() &&
                      std::equal(last_->begin(), last_->end(), arguments.places.begin(), Equal);
    const bool first = !*seen();
    *seen() = true;
    *last_ = arguments.places;
    return first || !same;
  }

 private:
  bool* seen() { return &seen_; }
  std::shared_ptr<Value::List> last_;
  bool seen_ = false;
};

}  // namespace

class Interpreter::ScopeGuard {
 public:
  ScopeGuard(Interpreter* interpreter, Scope* outer) : interpreter_(interpreter), before_(interpreter->scope_) {
    own_.outer = outer;
    interpreter_->scope_ = &own_;
    if (++interpreter_->depth_ > kDeepest) throw Failure{"macros or blocks call each other too deeply"};
  }
  ~ScopeGuard() {
    --interpreter_->depth_;
    interpreter_->scope_ = before_;
  }
  ScopeGuard(const ScopeGuard&) = delete;
  ScopeGuard& operator=(const ScopeGuard&) = delete;
  void Set(const std::string& name, Value value) { own_.names.emplace_back(name, std::move(value)); }

 private:
  static constexpr int kDeepest = 100;
  Interpreter* const interpreter_;
  Scope* const before_;
  Scope own_;
};

Interpreter::Interpreter(Value::Dict variables) {
  for (auto& [name, value] : variables) globals_.names.emplace_back(name.AsText(), std::move(value));
}

void Interpreter::Step(int64_t count) {
  steps_ += 1 + count;
  if (steps_ > kMostSteps) throw Failure{"the template takes too long; does one of its loops ever end?"};
}

void Interpreter::Run(const Body& body) { RunBody(body); }

void Interpreter::Write(std::string_view text) {
  CheckSize(static_cast<int64_t>(out_.size() + text.size()), kLargestText);
  out_ += text;
}

Interpreter::Flow Interpreter::RunBody(const Body& body) {
  for (const auto& statement : body) {
    try {
      Step();
      const Flow flow = RunStatement(*statement);
      if (flow != Flow::kNext) return flow;
    } catch (Failure& failure) {
      if (failure.line == 0) failure.line = statement->line;
      throw;
    }
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunStatement(const Statement& s) {
  using Kind = Statement::Kind;
  switch (s.kind) {
    case Kind::kText:
      Write(s.text);
      break;
    case Kind::kPrint:
      Write(Evaluate(*s.expression).Str());
      break;
    case Kind::kIf:
      return RunBody(Evaluate(*s.expression).True() ? s.body : s.otherwise);
    case Kind::kFor:
      return RunFor(s);
    case Kind::kSet:
      Assign(s.target, Evaluate(*s.expression));
      break;
    case Kind::kSetBlock:
    case Kind::kFilterBlock: {
      Value value = Captured(s.body);
      // The innermost filter's subject is the block.
      std::vector<const Expression*> filters;
      for (const Expression* f = s.expression.get(); f != nullptr; f = f->parts[0].get()) filters.push_back(f);
      for (auto f = filters.rbegin(); f != filters.rend(); ++f) {
        value = ApplyFilter(this, (*f)->text, value, EvaluateArguments(**f));
      }
      if (s.kind == Kind::kFilterBlock) {
        Write(value.Str());
      } else {
        Assign(s.target, value);
      }
      break;
    }
    case Kind::kMacro:
      Assign({{{s.text, ""}}, false}, Value(std::shared_ptr<Callable>(new Macro(&s))));
      break;
    case Kind::kGeneration: {
      const size_t begin = out_.size();
      {
        ScopeGuard scope(this, scope_);
        RunBody(s.body);
      }
      if (captures_ == 0) generations_.emplace_back(begin, out_.size());
      break;
    }
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunFor(const Statement& s) {
  Value::List items = Evaluate(*s.expression).Elements();
  CheckSize(static_cast<int64_t>(items.size()), kLargestList);
  if (s.condition != nullptr) {
    Value::List kept;
    for (Value& item : items) {
      Step();
      ScopeGuard scope(this, scope_);
      Assign(s.target, item);
      if (Evaluate(*s.condition).True()) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) {
    ScopeGuard scope(this, scope_);
    return RunBody(s.otherwise);
  }
  const int64_t length = static_cast<int64_t>(items.size());
  const Value changed(std::shared_ptr<Callable>(new Changed(std::make_shared<Value::List>())));
  for (int64_t i = 0; i < length; ++i) {
    Step();
    ScopeGuard scope(this, scope_);
    Assign(s.target, items[i]);
    scope.Set("loop", Value::OfNamespace({
                          {"index", i + 1},
                          {"index0", i},
                          {"revindex", length - i},
                          {"revindex0", length - i - 1},
                          {"first", i == 0},
                          {"last", i == length - 1},
                          {"length", length},
                          {"depth", 1},
                          {"depth0", 0},
                          {"previtem", i > 0 ? items[i - 1] : Value(Undefined{"previtem"})},
                          {"nextitem", i + 1 < length ? items[i + 1] : Value(Undefined{"nextitem"})},
                          {"cycle", Value(std::shared_ptr<Callable>(new Cycle(i)))},
                          {"changed", changed},
                      }));
    if (RunBody(s.body) == Flow::kBreak) break;
  }
  return Flow::kNext;
}

void Interpreter::Assign(const Target& target, const Value& value) {
  const auto set = [&](const std::pair<std::string, std::string>& to, const Value& v) {
    if (!to.second.empty()) {
      const Value space = Lookup(to.first);
      if (!space.is_namespace())
        throw Failure{StrCat("\"", to.first, "\" is no namespace, whose attributes can be set")};
      space.SetInNamespace(to.second, v);
      return;
    }
    for (auto& [name, old] : scope_->names) {
      if (name == to.first) {
        old = v;
        return;
      }
    }
    scope_->names.emplace_back(to.first, v);
  };
  if (!target.unpacks) return set(target.names[0], value);
  const Value::List parts = value.Elements();
  if (parts.size() != target.names.size()) {
    throw Failure{StrCat("cannot give ", parts.size(), " values to ", target.names.size(), " names")};
  }
  for (size_t i = 0; i < parts.size(); ++i) set(target.names[i], parts[i]);
}

std::string Interpreter::Captured(const Body& body) {
  std::string before = std::move(out_);
  out_.clear();
  ++captures_;
  ScopeGuard scope(this, scope_);
  RunBody(body);
  --captures_;
  return std::exchange(out_, std::move(before));
}

Value Interpreter::CallMacro(const Statement& macro, const Arguments& arguments) {
  std::vector<std::string_view> signature;
  for (const auto& [name, value] : macro.parameters) signature.push_back(name);
  const Bound bound(StrCat("the macro ", macro.text), arguments, signature);
  // A macro sees what stands outside of all loops, and its parameters.
  ScopeGuard scope(this, &globals_);
  for (size_t i = 0; i < signature.size(); ++i) {
    Value value = Undefined{macro.parameters[i].first};
    if (bound.Has(i)) {
      value = bound[i];
    } else if (macro.parameters[i].second != nullptr) {
      value = Evaluate(*macro.parameters[i].second);
    }
    scope.Set(macro.parameters[i].first, std::move(value));
  }
  return Captured(macro.body);
}

}  // namespace editd::jinja
