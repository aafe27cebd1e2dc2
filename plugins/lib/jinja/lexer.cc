#include "plugins/lib/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "plugins/lib/jinja/value.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

bool Digit(char c) { return c >= '0' && c <= '9'; }
bool NameByte(char c) {
  return Digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) {
    // Every newline is '\n', and one at the end is dropped.
    for (size_t i = 0; i < source.size(); ++i) {
      if (source[i] != '\r') {
        source_ += source[i];
        continue;
      }
      source_ += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
    if (source_.ends_with('\n')) source_.pop_back();
  }

  std::vector<Token> Run() {
    while (at_ < source_.size()) {
      const size_t begin = NextTag();
      if (begin == std::string::npos) {
        Text(source_.substr(at_));
        at_ = source_.size();
        break;
      }
      Tag(begin);
    }
    Add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void Fail(std::string message) const { throw Failure{std::move(message), line_}; }
  char Peek(size_t offset = 0) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }
  bool Looking(std::string_view text) const { return std::string_view(source_).substr(at_).starts_with(text); }
  void Add(TokenKind kind, std::string text) { tokens_.push_back({kind, line_, std::move(text)}); }
  void Text(std::string text) {
    const int lines = static_cast<int>(std::count(text.begin(), text.end(), '\n'));
    if (!text.empty()) Add(TokenKind::kText, std::move(text));
    line_ += lines;
  }
  // Goes on by `count` bytes.
  void Pass(size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + at_, source_.begin() + at_ + count, '\n'));
    at_ += count;
  }
  void PassSpace() {
    const std::string_view rest = std::string_view(source_).substr(at_);
    Pass(rest.size() - Strip(rest, true, false).size());
  }

  size_t NextTag() const {
    for (size_t i = at_; i + 1 < source_.size(); ++i) {
      if (source_[i] == '{' && (source_[i + 1] == '%' || source_[i + 1] == '{' || source_[i + 1] == '#')) return i;
    }
    return std::string::npos;
  }

  // The text before a tag that begins at `begin`, and the tag.
  void Tag(size_t begin) {
    const char kind = source_[begin + 1];
    const char sign = begin + 2 < source_.size() ? source_[begin + 2] : '\0';
    std::string text = source_.substr(at_, begin - at_);
    const size_t whole = text.size();
    if (sign == '-') {
      text = std::string(Strip(text, false, true));
    } else if (sign != '+' && kind != '{') {
      // Only white space between the line's beginning and the tag: it goes.
      const size_t newline = text.rfind('\n');
      const size_t from = newline == std::string::npos ? 0 : newline + 1;
      if ((from > 0 || line_begins_) && Strip(std::string_view(text).substr(from), true, false).empty()) {
        text.resize(from);
      }
    }
    const int lines = static_cast<int>(std::count(source_.begin() + at_, source_.begin() + at_ + whole, '\n'));
    if (!text.empty()) Add(TokenKind::kText, std::move(text));
    line_ += lines;
    at_ = begin + 2 + (sign == '-' || sign == '+');
    if (kind == '#') return Comment();
    if (kind == '%' && RawBegins()) return Raw();
    Add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kPrintBegin, "");
    Code(kind == '%');
  }

  // After a tag's end, whose mark of two bytes is at at_ + (a sign).
  void EndOfTag(bool block) {
    const size_t start = at_;
    const bool strip = Peek() == '-';
    const bool keep = Peek() == '+';
    Pass(2 + (strip || keep));
    if (strip)
      PassSpace();
    else if (block && !keep && Peek() == '\n')
      Pass(1);
    line_begins_ = at_ > start && source_[at_ - 1] == '\n';
  }

  void Comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) Fail("a comment has no end; write #}");
    const bool sign = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    Pass(end - sign - at_);
    EndOfTag(true);
  }

  bool RawBegins() {
    const size_t at = at_;
    const int line = line_;
    PassSpace();
    if (Looking("raw") && !NameByte(Peek(3))) {
      Pass(3);
      PassSpace();
      if (Looking("%}") || Looking("-%}")) return true;
    }
    at_ = at;
    line_ = line;
    return false;
  }

  void Raw() {
    const bool strip = Peek() == '-';
    Pass(strip ? 3 : 2);
    if (strip) PassSpace();
    line_begins_ = at_ > 0 && source_[at_ - 1] == '\n';
    for (size_t i = at_; (i = source_.find("{%", i)) != std::string::npos; i += 2) {
      std::string_view rest = std::string_view(source_).substr(i + 2);
      const char sign = rest.empty() ? '\0' : rest[0];
      if (sign == '-' || sign == '+') rest.remove_prefix(1);
      rest = Strip(rest, true, false);
      if (!rest.starts_with("endraw")) continue;
      rest = Strip(rest.substr(6), true, false);
      if (!rest.starts_with("%}") && !rest.starts_with("-%}") && !rest.starts_with("+%}")) continue;
      std::string text = source_.substr(at_, i - at_);
      const size_t whole = text.size();
      if (sign == '-') {
        text = std::string(Strip(text, false, true));
      } else if (sign != '+') {
        const size_t newline = text.rfind('\n');
        const size_t from = newline == std::string::npos ? 0 : newline + 1;
        if ((from > 0 || line_begins_) && Strip(std::string_view(text).substr(from), true, false).empty()) {
          text.resize(from);
        }
      }
      if (!text.empty()) Add(TokenKind::kText, std::move(text));
      Pass(whole);
      Pass(source_.size() - rest.size() - at_);
      EndOfTag(true);
      return;
    }
    Fail("{% raw %} has no {% endraw %}");
  }

  // Inside {{ }} or {% %}, up to and with the end.
  void Code(bool block) {
    const std::string_view end = block ? "%}" : "}}";
    std::string open;
    for (;;) {
      PassSpace();
      if (at_ >= source_.size()) Fail(StrCat("a tag has no end; write ", end));
      const bool sign = Peek() == '-' || (block && Peek() == '+');
      if (open.empty() && std::string_view(source_).substr(at_ + sign).starts_with(end)) {
        Add(block ? TokenKind::kBlockEnd : TokenKind::kPrintEnd, "");
        EndOfTag(block);
        return;
      }
      const char c = Peek();
      if (Digit(c)) {
        Number();
      } else if (NameByte(c)) {
        const size_t begin = at_;
        while (NameByte(Peek())) ++at_;
        Add(TokenKind::kName, source_.substr(begin, at_ - begin));
      } else if (c == '"' || c == '\'') {
        String(c);
      } else {
        Operator(&open);
      }
    }
  }

  void Operator(std::string* open) {
    for (const char* two : {"//", "**", "==", "!=", ">=", "<="}) {
      if (!Looking(two)) continue;
      Add(TokenKind::kOperator, two);
      at_ += 2;
      return;
    }
    const char c = Peek();
    if (c == '\0' || std::strchr("+-/*%~[](){}><=.:|,;", c) == nullptr) {
      Fail(StrCat("unexpected character ", source_.substr(at_, 1)));
    }
    if (c == '(' || c == '[' || c == '{') {
      if (open->size() >= 200) Fail("brackets are nested too deeply");
      *open += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open->empty() || open->back() != c) Fail(StrCat("unexpected ", source_.substr(at_, 1)));
      open->pop_back();
    }
    Add(TokenKind::kOperator, std::string(1, c));
    ++at_;
  }

  void Number() {
    std::string text;
    const auto digits = [&] {
      while (Digit(Peek()) || (Peek() == '_' && Digit(Peek(1)))) {
        if (Peek() != '_') text += Peek();
        ++at_;
      }
    };
    if (Peek() == '0' && std::strchr("xXoObB", Peek(1)) != nullptr && Peek(1) != '\0') {
      Fail("numbers are written in decimal here");
    }
    digits();
    bool real = false;
    // "1.e" is no number's end, and neither is "x.1.y": a digit follows the dot.
    const bool after_dot =
        !tokens_.empty() && tokens_.back().kind == TokenKind::kOperator && tokens_.back().text == ".";
    if (!after_dot && Peek() == '.' && Digit(Peek(1))) {
      real = true;
      text += '.';
      ++at_;
      digits();
    }
    const size_t exponent = (Peek(1) == '+' || Peek(1) == '-') ? 2 : 1;
    if (!after_dot && (Peek() == 'e' || Peek() == 'E') && Digit(Peek(exponent))) {
      real = true;
      text += source_.substr(at_, exponent);
      at_ += exponent;
      digits();
    }
    if (NameByte(Peek())) Fail(StrCat("unexpected character ", source_.substr(at_, 1), " after a number"));
    Token token{real ? TokenKind::kFloat : TokenKind::kInteger, line_, text};
    if (real) {
      token.real = std::strtod(text.c_str(), nullptr);
    } else {
      const auto read = std::from_chars(text.data(), text.data() + text.size(), token.integer);
      if (read.ec != std::errc()) Fail(StrCat("the number ", text, " is too large"));
    }
    tokens_.push_back(std::move(token));
  }

  uint32_t HexDigits(int count) {
    uint32_t value = 0;
    for (int i = 0; i < count; ++i, ++at_) {
      const char c = Peek();
      const int digit = Digit(c)               ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) Fail("an escape in a string wants hexadecimal digits");
      value = value * 16 + digit;
    }
    return value;
  }

  void String(char quote) {
    std::string value;
    const int line = line_;
    ++at_;
    for (;;) {
      if (at_ >= source_.size()) {
        line_ = line;
        Fail("a string has no end");
      }
      const char c = Peek();
      if (c == '\n') ++line_;
      ++at_;
      if (c == quote) break;
      if (c != '\\') {
        value += c;
        continue;
      }
      const char e = Peek();
      ++at_;
      static constexpr std::string_view kFrom = "abfnrtv\\'\"", kTo = "\a\b\f\n\r\t\v\\'\"";
      if (const size_t known = kFrom.find(e); e != '\0' && known != std::string_view::npos) {
        value += kTo[known];
      } else if (e == '\n') {
        ++line_;
      } else if (e >= '0' && e <= '7') {
        uint32_t code = e - '0';
        for (int i = 0; i < 2 && Peek() >= '0' && Peek() <= '7'; ++i, ++at_) code = code * 8 + (Peek() - '0');
        text::AppendUtf8(code, &value);
      } else if (e == 'x' || e == 'u' || e == 'U') {
        const uint32_t code = HexDigits(e == 'x' ? 2 : e == 'u' ? 4 : 8);
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) Fail("an escape in a string names no character");
        text::AppendUtf8(code, &value);
      } else if (e == 'N') {
        Fail("the escape \\N{...} is not supported");
      } else {
        value += '\\';
        --at_;
      }
    }
    tokens_.push_back({TokenKind::kString, line, std::move(value)});
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_begins_ = true;  // Only white space can stand between a line's beginning and what follows.
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace editd::jinja
