// Expressions, with the precedence that Jinja gives them.
#include "plugins/lib/jinja/builtins.h"
#include "plugins/lib/jinja/nesting.h"
#include "plugins/lib/jinja/parser.h"
#include "storage/base/strings.h"

namespace editd::jinja {

using Kind = Expression::Kind;

ExpressionPtr Parser::New(Kind kind, int line) {
  auto out = std::make_unique<Expression>();
  out->kind = kind;
  out->line = line > 0 ? line : Now().line;
  return out;
}

// One expression, or several with commas between them.
ExpressionPtr Parser::Tuple(bool conditional, bool parentheses) {
  auto tuple = New(Kind::kTuple);
  bool comma = false;
  const auto ends = [&] {
    return Now().kind == TokenKind::kBlockEnd || Now().kind == TokenKind::kPrintEnd || IsOperator(")");
  };
  for (;;) {
    if (!tuple->parts.empty()) ExpectOperator(",");
    if (ends()) break;
    tuple->parts.push_back(conditional ? Full() : Or());
    if (!IsOperator(",")) break;
    comma = true;
  }
  if (comma) return tuple;
  if (tuple->parts.size() == 1) return std::move(tuple->parts[0]);
  if (!parentheses) Unexpected("an expression");
  return tuple;
}

ExpressionPtr Parser::Full() {
  Nesting nesting(this);
  ExpressionPtr out = Or();
  while (IsName("if")) {
    auto choice = New(Kind::kIf);
    Next();
    choice->parts.push_back(std::move(out));
    choice->parts.push_back(Or());
    choice->parts.push_back(SkipName("else") ? Full() : nullptr);
    out = std::move(choice);
  }
  return out;
}

ExpressionPtr Parser::Or() {
  ExpressionPtr out = And();
  while (IsName("or")) {
    auto node = New(Kind::kOr);
    Next();
    node->parts.push_back(std::move(out));
    node->parts.push_back(And());
    out = std::move(node);
  }
  return out;
}

ExpressionPtr Parser::And() {
  ExpressionPtr out = Not();
  while (IsName("and")) {
    auto node = New(Kind::kAnd);
    Next();
    node->parts.push_back(std::move(out));
    node->parts.push_back(Not());
    out = std::move(node);
  }
  return out;
}

ExpressionPtr Parser::Not() {
  if (!IsName("not")) return Comparison();
  Nesting nesting(this);
  auto node = New(Kind::kNot);
  Next();
  node->parts.push_back(Not());
  return node;
}

ExpressionPtr Parser::Comparison() {
  auto node = New(Kind::kCompare);
  node->parts.push_back(Sum());
  for (;;) {
    std::string op;
    for (const char* known : {"==", "!=", ">=", "<=", ">", "<"}) {
      if (IsOperator(known)) op = known;
    }
    if (op.empty() && IsName("in")) op = "in";
    if (op.empty() && IsName("not") && Ahead().kind == TokenKind::kName && Ahead().text == "in") {
      op = "not in";
      Next();
    }
    if (op.empty()) break;
    Next();
    node->operators.push_back(op);
    node->parts.push_back(Sum());
  }
  if (node->operators.empty()) return std::move(node->parts[0]);
  return node;
}

namespace {

// left OP right, with both parts set.
ExpressionPtr Arithmetic(ExpressionPtr node, std::string op, ExpressionPtr left, ExpressionPtr right) {
  node->text = std::move(op);
  node->parts.push_back(std::move(left));
  node->parts.push_back(std::move(right));
  return node;
}

}  // namespace

ExpressionPtr Parser::Sum() {
  ExpressionPtr out = Concat();
  while (IsOperator("+") || IsOperator("-")) {
    auto node = New(Kind::kArithmetic);
    std::string op = Next().text;
    ExpressionPtr right = Concat();
    out = Arithmetic(std::move(node), std::move(op), std::move(out), std::move(right));
  }
  return out;
}

ExpressionPtr Parser::Concat() {
  ExpressionPtr first = Product();
  if (!IsOperator("~")) return first;
  auto node = New(Kind::kConcat);
  node->parts.push_back(std::move(first));
  while (SkipOperator("~")) node->parts.push_back(Product());
  return node;
}

ExpressionPtr Parser::Product() {
  ExpressionPtr out = Power();
  while (IsOperator("*") || IsOperator("/") || IsOperator("//") || IsOperator("%")) {
    auto node = New(Kind::kArithmetic);
    std::string op = Next().text;
    ExpressionPtr right = Power();
    out = Arithmetic(std::move(node), std::move(op), std::move(out), std::move(right));
  }
  return out;
}

ExpressionPtr Parser::Power() {
  ExpressionPtr out = Unary(true);
  while (IsOperator("**")) {
    auto node = New(Kind::kArithmetic);
    std::string op = Next().text;
    ExpressionPtr right = Unary(true);
    out = Arithmetic(std::move(node), std::move(op), std::move(out), std::move(right));
  }
  return out;
}

ExpressionPtr Parser::Unary(bool filters) {
  Nesting nesting(this);
  ExpressionPtr out;
  if (IsOperator("-") || IsOperator("+")) {
    out = New(IsOperator("-") ? Kind::kNegative : Kind::kPositive);
    Next();
    out->parts.push_back(Unary(false));
  } else {
    out = Primary();
  }
  out = Postfix(std::move(out));
  return filters ? Filters(std::move(out)) : std::move(out);
}

ExpressionPtr Parser::Primary() {
  auto node = New(Kind::kConstant);
  switch (Now().kind) {
    case TokenKind::kName: {
      const std::string name = Next().text;
      if (name == "true" || name == "True" || name == "false" || name == "False") {
        node->constant = name == "true" || name == "True";
      } else if (name == "none" || name == "None") {
        node->constant = nullptr;
      } else {
        for (const char* word : {"and", "or", "not", "if", "else", "elif", "in", "is"}) {
          if (name == word) Fail(StrCat("expected an expression, not \"", name, "\""), node->line);
        }
        node->kind = Kind::kName;
        node->text = name;
      }
      return node;
    }
    case TokenKind::kString: {
      std::string text = Next().text;
      while (Now().kind == TokenKind::kString) text += Next().text;
      node->constant = std::move(text);
      return node;
    }
    case TokenKind::kInteger:
      node->constant = Next().integer;
      return node;
    case TokenKind::kFloat:
      node->constant = Next().real;
      return node;
    default:
      break;
  }
  if (SkipOperator("(")) {
    node = Tuple(true, true);
    ExpectOperator(")");
    return node;
  }
  if (SkipOperator("[")) {
    node->kind = Kind::kList;
    while (!IsOperator("]")) {
      if (!node->parts.empty()) ExpectOperator(",");
      if (IsOperator("]")) break;
      node->parts.push_back(Full());
    }
    Next();
    return node;
  }
  if (SkipOperator("{")) {
    node->kind = Kind::kDict;
    while (!IsOperator("}")) {
      if (!node->parts.empty()) ExpectOperator(",");
      if (IsOperator("}")) break;
      node->parts.push_back(Full());
      ExpectOperator(":");
      node->parts.push_back(Full());
    }
    Next();
    return node;
  }
  Unexpected("an expression");
}

ExpressionPtr Parser::Postfix(ExpressionPtr node) {
  for (int chain = 0;; ++chain) {
    if (chain > 100) Fail("the template is nested too deeply");
    if (IsOperator(".") || IsOperator("[")) {
      node = Subscript(std::move(node));
    } else if (IsOperator("(")) {
      if (node->kind == Kind::kAttribute && !IsMethod(node->text)) {
        Fail(StrCat("the method \"", node->text, "\" is not supported"), node->line);
      }
      auto call = New(Kind::kCall);
      call->parts.push_back(std::move(node));
      CallArguments(call.get());
      node = std::move(call);
    } else {
      return node;
    }
  }
}

ExpressionPtr Parser::Subscript(ExpressionPtr node) {
  const int line = Now().line;
  if (SkipOperator(".")) {
    auto out = New(Kind::kAttribute, line);
    if (Now().kind == TokenKind::kInteger) {
      out->kind = Kind::kItem;
      auto index = New(Kind::kConstant);
      index->constant = Next().integer;
      out->parts.push_back(std::move(node));
      out->parts.push_back(std::move(index));
      return out;
    }
    out->text = ExpectName();
    out->parts.push_back(std::move(node));
    return out;
  }
  ExpectOperator("[");
  auto out = New(Kind::kItem, line);
  out->parts.push_back(std::move(node));
  ExpressionPtr first = IsOperator(":") ? nullptr : Full();
  if (SkipOperator(":")) {
    out->kind = Kind::kSlice;
    out->parts.push_back(std::move(first));
    out->parts.push_back(IsOperator("]") || IsOperator(":") ? nullptr : Full());
    out->parts.push_back(SkipOperator(":") && !IsOperator("]") ? Full() : nullptr);
  } else {
    out->parts.push_back(std::move(first));
  }
  if (IsOperator(",")) Fail("a subscript with a comma is not supported");
  ExpectOperator("]");
  return out;
}

ExpressionPtr Parser::Filters(ExpressionPtr node) {
  for (int chain = 0;; ++chain) {
    if (chain > 100) Fail("the template is nested too deeply");
    if (IsOperator("|")) {
      node = Filter(std::move(node));
    } else if (IsName("is")) {
      node = Test(std::move(node));
    } else if (IsOperator("(")) {
      auto call = New(Kind::kCall);
      call->parts.push_back(std::move(node));
      CallArguments(call.get());
      node = std::move(call);
    } else {
      return node;
    }
  }
}

// One or more filters, each with its bar.
ExpressionPtr Parser::Filter(ExpressionPtr node) {
  for (int chain = 0; SkipOperator("|"); ++chain) {
    if (chain > 100) Fail("the template is nested too deeply");
    auto out = New(Kind::kFilter);
    out->text = ExpectName();
    if (!IsFilter(out->text)) Fail(StrCat("the filter \"", out->text, "\" is not supported"), out->line);
    out->parts.push_back(std::move(node));
    if (IsOperator("(")) CallArguments(out.get());
    if (out->text == "safe") safes_.push_back(out->line);
    node = std::move(out);
  }
  return node;
}

ExpressionPtr Parser::Test(ExpressionPtr node) {
  auto out = New(Kind::kTest);
  Next();
  const bool negated = SkipName("not");
  out->text = ExpectName();
  if (!IsTest(out->text)) Fail(StrCat("the test \"", out->text, "\" is not supported"), out->line);
  out->parts.push_back(std::move(node));
  if (IsOperator("(")) {
    CallArguments(out.get());
  } else if (Now().kind == TokenKind::kString || Now().kind == TokenKind::kInteger || Now().kind == TokenKind::kFloat ||
             IsOperator("[") || IsOperator("{") ||
             (Now().kind == TokenKind::kName && !IsName("else") && !IsName("or") && !IsName("and"))) {
    if (IsName("is")) Fail("tests cannot be chained with \"is\"");
    // As in Jinja: "x is defined if y" reads "if" as the test's argument, and so do other words here.
    if (IsName("if") || IsName("in") || IsName("not"))
      Fail(StrCat("\"", Now().text, "\" after a test without parentheses"));
    out->parts.push_back(Postfix(Primary()));
  }
  if (!negated) return out;
  auto inverse = New(Kind::kNot, out->line);
  inverse->parts.push_back(std::move(out));
  return inverse;
}

void Parser::CallArguments(Expression* call) {
  Nesting nesting(this);
  ExpectOperator("(");
  bool any = false;
  while (!IsOperator(")")) {
    if (any) ExpectOperator(",");
    if (IsOperator(")")) break;
    any = true;
    if (IsOperator("*") || IsOperator("**")) Fail("arguments from a list or dict (*, **) are not supported");
    if (Now().kind == TokenKind::kName && Ahead().kind == TokenKind::kOperator && Ahead().text == "=") {
      std::string name = Next().text;
      Next();
      call->named.emplace_back(std::move(name), Full());
    } else {
      if (!call->named.empty()) Fail("an argument without a name follows one with a name");
      call->parts.push_back(Full());
    }
  }
  Next();
}

}  // namespace editd::jinja
