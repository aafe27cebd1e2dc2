// The template's text cut into tokens, white space treated as transformers sets it: trim_blocks and lstrip_blocks on,
// the last newline of the source dropped.
#ifndef EDITD_PLUGINS_LIB_JINJA_LEXER_H_
#define EDITD_PLUGINS_LIB_JINJA_LEXER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace editd::jinja {

enum class TokenKind {
  kText,
  kBlockBegin,
  kBlockEnd,
  kPrintBegin,
  kPrintEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind;
  int line;
  std::string text;  // Of a string its value; of an operator the operator.
  int64_t integer = 0;
  double real = 0;
};

// Throws Failure.
std::vector<Token> Tokenize(std::string_view source);

}  // namespace editd::jinja

#endif  // EDITD_PLUGINS_LIB_JINJA_LEXER_H_
