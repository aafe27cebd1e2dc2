// The template as a tree.
#ifndef EDITD_PLUGINS_LIB_JINJA_AST_H_
#define EDITD_PLUGINS_LIB_JINJA_AST_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plugins/lib/jinja/value.h"

namespace editd::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<Expression>;

struct Expression {
  enum class Kind {
    kConstant,    // constant
    kName,        // text
    kList,        // parts
    kTuple,       // parts
    kDict,        // parts: key, value, key, ...
    kAttribute,   // parts[0].text
    kItem,        // parts[0][parts[1]]
    kSlice,       // parts[0][parts[1]:parts[2]:parts[3]]; those left out are null
    kCall,        // parts[0](parts[1..], named)
    kFilter,      // parts[0]|text(parts[1..], named); parts[0] is null in {% set x | text %}
    kTest,        // parts[0] is text(parts[1..])
    kNot,         // parts[0]
    kNegative,    // parts[0]
    kPositive,    // parts[0]
    kAnd,         // parts[0], parts[1]
    kOr,          // parts[0], parts[1]
    kIf,          // parts[0] if parts[1] else parts[2], which may be null
    kCompare,     // parts[0] operators[0] parts[1] operators[1] ...
    kArithmetic,  // parts[0] text parts[1]
    kConcat,      // parts, as texts
  };
  Kind kind;
  int line;
  std::string text;
  Value constant;
  std::vector<ExpressionPtr> parts;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  std::vector<std::string> operators;
};

// What {% for %} and {% set %} give values to: names, or ns.name.
struct Target {
  std::vector<std::pair<std::string, std::string>> names;  // (name, attribute); attribute is empty for a plain name
  bool unpacks = false;                                    // Written with a comma.
};

struct Statement;
using Body = std::vector<std::unique_ptr<Statement>>;

struct Statement {
  enum class Kind {
    kText,         // text
    kPrint,        // expression
    kIf,           // expression, body, otherwise
    kFor,          // target in expression if condition: body, otherwise
    kSet,          // target = expression
    kSetBlock,     // target = body, through the filters of `expression` if there are any
    kMacro,        // text(parameters): body
    kFilterBlock,  // body through expression
    kGeneration,   // body
    kBreak,
    kContinue,
  };
  Kind kind;
  int line;
  std::string text;
  ExpressionPtr expression, condition;
  Target target;
  Body body, otherwise;
  std::vector<std::pair<std::string, ExpressionPtr>> parameters;  // With defaults, or null.
};

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_AST_H_
