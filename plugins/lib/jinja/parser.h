// From tokens to the tree. What this language subset lacks is refused here, with its name and line, before anything
// runs.
#ifndef EDITD_PLUGINS_LIB_JINJA_PARSER_H_
#define EDITD_PLUGINS_LIB_JINJA_PARSER_H_

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/jinja/ast.h"
#include "plugins/lib/jinja/lexer.h"

namespace editd::jinja {

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}
  Body Parse();  // Throws Failure.

 private:
  // Statements: parser.cc.
  Body Statements(const std::set<std::string>& ends);
  std::unique_ptr<Statement> Block();
  std::unique_ptr<Statement> If();
  std::unique_ptr<Statement> For();
  std::unique_ptr<Statement> Set();
  std::unique_ptr<Statement> Macro();
  Target ParseTarget();
  Body BodyUntil(const std::set<std::string>& ends);  // Passes the tag's end before it.
  void EndTag(const std::string& name);

  // Expressions: parser_expressions.cc.
  ExpressionPtr Tuple(bool conditional, bool parentheses);
  ExpressionPtr Full();
  ExpressionPtr Or();
  ExpressionPtr And();
  ExpressionPtr Not();
  ExpressionPtr Comparison();
  ExpressionPtr Sum();
  ExpressionPtr Concat();
  ExpressionPtr Product();
  ExpressionPtr Power();
  ExpressionPtr Unary(bool filters);
  ExpressionPtr Primary();
  ExpressionPtr Postfix(ExpressionPtr node);
  ExpressionPtr Subscript(ExpressionPtr node);
  ExpressionPtr Filters(ExpressionPtr node);
  ExpressionPtr Filter(ExpressionPtr node);
  ExpressionPtr Test(ExpressionPtr node);
  void CallArguments(Expression* call);

  const Token& Now() const { return tokens_[at_]; }
  const Token& Ahead(size_t n = 1) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  Token Next() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool IsName(std::string_view name) const { return Now().kind == TokenKind::kName && Now().text == name; }
  bool IsOperator(std::string_view op) const { return Now().kind == TokenKind::kOperator && Now().text == op; }
  bool SkipName(std::string_view name);
  bool SkipOperator(std::string_view op);
  void ExpectOperator(std::string_view op);
  std::string ExpectName();
  void ExpectBlockEnd();
  [[noreturn]] void Fail(std::string message, int line = 0) const;
  [[noreturn]] void Unexpected(std::string_view wanted) const;
  ExpressionPtr New(Expression::Kind kind, int line = 0);
  // Counts nesting while it lives.
  class Nesting;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int depth_ = 0, loops_ = 0;
  std::vector<int> safes_;  // Lines of |safe where it would matter.
};

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_PARSER_H_
