// Tags: the statements of the language.
#include "plugins/lib/jinja/parser.h"

#include "plugins/lib/jinja/nesting.h"
#include "storage/base/strings.h"

namespace editd::jinja {

using Kind = Statement::Kind;

namespace {

std::unique_ptr<Statement> NewStatement(Kind kind, int line) {
  auto out = std::make_unique<Statement>();
  out->kind = kind;
  out->line = line;
  return out;
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kPrintEnd:
      return "}}";
    case TokenKind::kBlockBegin:
      return "{%";
    case TokenKind::kPrintBegin:
      return "{{";
    case TokenKind::kEnd:
      return "the template's end";
    case TokenKind::kString:
      return "a string";
    default:
      return StrCat("\"", token.text, "\"");
  }
}

}  // namespace

void Parser::Fail(std::string message, int line) const {
  throw Failure{std::move(message), line > 0 ? line : Now().line};
}
void Parser::Unexpected(std::string_view wanted) const { Fail(StrCat("expected ", wanted, ", not ", Describe(Now()))); }

bool Parser::SkipName(std::string_view name) {
  if (!IsName(name)) return false;
  ++at_;
  return true;
}
bool Parser::SkipOperator(std::string_view op) {
  if (!IsOperator(op)) return false;
  ++at_;
  return true;
}
void Parser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) Unexpected(StrCat("\"", op, "\""));
}
std::string Parser::ExpectName() {
  if (Now().kind != TokenKind::kName) Unexpected("a name");
  return Next().text;
}
void Parser::ExpectBlockEnd() {
  if (Now().kind != TokenKind::kBlockEnd) Unexpected("%}");
  Next();
}

Body Parser::Parse() {
  Body body = Statements({});
  if (!safes_.empty()) Fail("the filter \"safe\" inside of an expression is not supported", safes_[0]);
  return body;
}

// Up to a tag whose name is in `ends`, at which it stops behind "{%"; without ends, up to the template's end.
Body Parser::Statements(const std::set<std::string>& ends) {
  Nesting nesting(this);
  Body out;
  for (;;) {
    const int line = Now().line;
    switch (Now().kind) {
      case TokenKind::kText:
        out.push_back(NewStatement(Kind::kText, line));
        out.back()->text = Next().text;
        break;
      case TokenKind::kPrintBegin:
        Next();
        out.push_back(NewStatement(Kind::kPrint, line));
        out.back()->expression = Tuple(true, false);
        if (out.back()->expression->kind == Expression::Kind::kFilter && out.back()->expression->text == "safe") {
          safes_.pop_back();  // Of what is printed nothing is escaped.
        }
        if (Now().kind != TokenKind::kPrintEnd) Unexpected("}}");
        Next();
        break;
      case TokenKind::kBlockBegin:
        Next();
        if (Now().kind == TokenKind::kName && ends.contains(Now().text)) return out;
        out.push_back(Block());
        ExpectBlockEnd();
        break;
      default:
        if (!ends.empty()) Fail(StrCat("the template ends, and {% ", *ends.begin(), " %} is missing"));
        return out;
    }
  }
}

Body Parser::BodyUntil(const std::set<std::string>& ends) {
  ExpectBlockEnd();
  return Statements(ends);
}

void Parser::EndTag(const std::string& name) {
  if (!SkipName(name)) Unexpected(name);
}

std::unique_ptr<Statement> Parser::Block() {
  const int line = Now().line;
  if (Now().kind != TokenKind::kName) Unexpected("a tag's name");
  const std::string name = Now().text;
  if (name == "if") return If();
  if (name == "for") return For();
  if (name == "set") return Set();
  if (name == "macro") return Macro();
  Next();
  if (name == "generation") {
    auto out = NewStatement(Kind::kGeneration, line);
    out->body = BodyUntil({"endgeneration"});
    EndTag("endgeneration");
    return out;
  }
  if (name == "filter") {
    auto out = NewStatement(Kind::kFilterBlock, line);
    --at_;
    // The first filter stands without its bar.
    tokens_[at_] = Token{TokenKind::kOperator, line, "|"};
    out->expression = Filter(nullptr);
    out->body = BodyUntil({"endfilter"});
    EndTag("endfilter");
    return out;
  }
  if (name == "break" || name == "continue") {
    if (loops_ == 0) Fail(StrCat("{% ", name, " %} stands in no loop"), line);
    return NewStatement(name == "break" ? Kind::kBreak : Kind::kContinue, line);
  }
  for (const char* known :
       {"block", "extends", "include", "import", "from", "call", "with", "do", "autoescape", "trans"}) {
    if (name == known) Fail(StrCat("{% ", name, " %} is not supported"), line);
  }
  if (name.starts_with("end") || name == "else" || name == "elif") Fail(StrCat("{% ", name, " %} ends nothing"), line);
  Fail(StrCat("there is no tag {% ", name, " %}"), line);
}

std::unique_ptr<Statement> Parser::If() {
  Nesting nesting(this);
  auto out = NewStatement(Kind::kIf, Next().line);  // "if" or "elif".
  out->expression = Tuple(false, false);
  out->body = BodyUntil({"elif", "else", "endif"});
  if (IsName("elif")) {
    out->otherwise.push_back(If());
    return out;
  }
  if (SkipName("else")) out->otherwise = BodyUntil({"endif"});
  EndTag("endif");
  return out;
}

std::unique_ptr<Statement> Parser::For() {
  auto out = NewStatement(Kind::kFor, Next().line);
  out->target = ParseTarget();
  for (const auto& [name, attribute] : out->target.names) {
    if (!attribute.empty()) Fail("a loop cannot set a namespace's attribute", out->line);
  }
  if (!SkipName("in")) Unexpected("\"in\"");
  out->expression = Tuple(false, false);
  if (SkipName("if")) out->condition = Full();
  if (IsName("recursive")) Fail("a recursive loop is not supported");
  ++loops_;
  out->body = BodyUntil({"endfor", "else"});
  --loops_;
  if (SkipName("else")) out->otherwise = BodyUntil({"endfor"});
  EndTag("endfor");
  return out;
}

std::unique_ptr<Statement> Parser::Set() {
  auto out = NewStatement(Kind::kSet, Next().line);
  out->target = ParseTarget();
  if (SkipOperator("=")) {
    out->expression = Tuple(true, false);
    return out;
  }
  out->kind = Kind::kSetBlock;
  if (out->target.unpacks) Fail("{% set %} of a block gives one value", out->line);
  if (IsOperator("|")) out->expression = Filter(nullptr);
  out->body = BodyUntil({"endset"});
  EndTag("endset");
  return out;
}

std::unique_ptr<Statement> Parser::Macro() {
  auto out = NewStatement(Kind::kMacro, Next().line);
  out->text = ExpectName();
  ExpectOperator("(");
  while (!IsOperator(")")) {
    if (!out->parameters.empty()) ExpectOperator(",");
    if (IsOperator(")")) break;
    const std::string name = ExpectName();
    ExpressionPtr value;
    if (SkipOperator("=")) {
      value = Full();
    } else if (!out->parameters.empty() && out->parameters.back().second != nullptr) {
      Fail("a parameter without a default follows one that has one");
    }
    out->parameters.emplace_back(name, std::move(value));
  }
  Next();
  const int loops = std::exchange(loops_, 0);
  out->body = BodyUntil({"endmacro"});
  loops_ = loops;
  EndTag("endmacro");
  return out;
}

Target Parser::ParseTarget() {
  Target out;
  const bool parentheses = SkipOperator("(");
  for (;;) {
    const int line = Now().line;
    const std::string name = ExpectName();
    for (const char* constant : {"true", "false", "none", "True", "False", "None"}) {
      if (name == constant) Fail(StrCat(name, " cannot be set"), line);
    }
    out.names.emplace_back(name, SkipOperator(".") ? ExpectName() : "");
    if (!SkipOperator(",")) break;
    out.unpacks = true;
    if (IsName("in") || IsOperator("=") || IsOperator(")")) break;
  }
  if (parentheses) ExpectOperator(")");
  return out;
}

}  // namespace editd::jinja
