// How several errors are told: the text is cut into tokens once, each with its place. The parser names the token after
// the one that it stumbled over; from there the word in question is looked for backwards. What it means is known from
// the message around it, which a walk over the tokens before it finds. The field and its value are then overwritten
// with spaces, so that all places stay the same, and the parser is asked again, up to kMostFindings times.
#include "client/spec_text.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;

constexpr size_t kMostFindings = 10;
constexpr int kValuesListed = 12;

// Keeps the first error, with its place.
class FirstError : public pb::io::ErrorCollector {
 public:
  void AddError(int line, pb::io::ColumnNumber column, const std::string& message) override {
    if (failed) return;
    failed = true;
    this->line = line;
    this->column = column;
    this->message = message;
  }
  bool failed = false;
  int line = -1;
  int column = 0;
  std::string message;
};

struct Token {
  std::string text;
  bool is_string;
  size_t begin;  // Of its bytes in the file.

  size_t end() const { return begin + text.size(); }
  bool opens() const { return text == "{" || text == "<" || text == "["; }
  bool closes() const { return text == "}" || text == ">" || text == "]"; }
};
using Tokens = std::vector<Token>;

// The byte at which the tokenizer counts a line and a column (from 0; a tab goes to the next multiple of eight). Asked
// for places that rise, it reads the text once.
class Places {
 public:
  explicit Places(std::string_view content) : content_(content) {}
  size_t OffsetOf(int line, int column) {
    if (line < line_ || (line == line_ && column < column_)) {
      at_ = 0;
      line_ = column_ = 0;
    }
    for (; at_ < content_.size() && (line_ < line || (column_ < column && content_[at_] != '\n')); ++at_) {
      if (content_[at_] == '\n') {
        ++line_;
        column_ = 0;
      } else {
        column_ = content_[at_] == '\t' ? (column_ / 8 + 1) * 8 : column_ + 1;
      }
    }
    return at_;
  }

 private:
  const std::string_view content_;
  size_t at_ = 0;
  int line_ = 0;
  int column_ = 0;
};

// The tokens up to the first that is none; `error` is that one's.
Tokens ReadTokens(std::string_view content, FirstError* error) {
  pb::io::ArrayInputStream input(content.data(), static_cast<int>(content.size()));
  pb::io::Tokenizer tokenizer(&input, error);
  tokenizer.set_allow_f_after_float(true);
  tokenizer.set_comment_style(pb::io::Tokenizer::SH_COMMENT_STYLE);
  tokenizer.set_require_space_after_number(false);
  tokenizer.set_allow_multiline_strings(true);
  Tokens tokens;
  Places places(content);
  while (tokenizer.Next() && !error->failed) {
    const pb::io::Tokenizer::Token& token = tokenizer.current();
    tokens.push_back(
        {token.text, token.type == pb::io::Tokenizer::TYPE_STRING, places.OffsetOf(token.line, token.column)});
  }
  return tokens;
}

// "FILE:LINE:COLUMN: message" of a byte, as editors count.
std::string Finding(std::string_view name, std::string_view content, size_t offset, std::string_view message) {
  const std::string_view before = content.substr(0, offset);
  const size_t newline = before.rfind('\n');
  const size_t column = newline == std::string_view::npos ? before.size() : before.size() - newline - 1;
  return StrCat(name, ":", 1 + std::count(before.begin(), before.end(), '\n'), ":", column + 1, ": ", message);
}

// What stands between the quotes after `before` in `message`; empty if it is not there.
std::string Quoted(std::string_view message, std::string_view before) {
  const size_t start = message.find(before);
  if (start == std::string_view::npos) return "";
  const std::string_view rest = message.substr(start + before.size());
  const size_t end = rest.find('"');
  return end == std::string_view::npos ? "" : std::string(rest.substr(0, end));
}

// The last token `word` that begins before `offset`.
std::optional<size_t> FindBefore(const Tokens& tokens, std::string_view word, size_t offset) {
  auto after = std::lower_bound(tokens.begin(), tokens.end(), offset,
                                [](const Token& token, size_t place) { return token.begin < place; });
  while (after != tokens.begin()) {
    if ((--after)->text == word) return static_cast<size_t>(after - tokens.begin());
  }
  return std::nullopt;
}

// The token after the field whose name is token `at`, its value and a separator; nothing if the text breaks off.
std::optional<size_t> AfterField(const Tokens& tokens, size_t at) {
  const auto is = [&](size_t i, std::string_view text) { return i < tokens.size() && tokens[i].text == text; };
  ++at;
  if (is(at, ":")) ++at;
  if (at >= tokens.size() || tokens[at].closes()) return std::nullopt;
  if (tokens[at].opens()) {
    for (int depth = 0; at < tokens.size(); ++at) {
      depth += tokens[at].opens() ? 1 : tokens[at].closes() ? -1 : 0;
      if (depth == 0) break;
    }
    if (at >= tokens.size()) return std::nullopt;
    ++at;
  } else if (tokens[at].is_string) {
    while (at < tokens.size() && tokens[at].is_string) ++at;
  } else {
    at += is(at, "-") ? 2 : 1;
  }
  if (is(at, ",") || is(at, ";")) ++at;
  return std::min(at, tokens.size());
}

// The message that token `at` is a field of; null if that is not known.
const pb::Descriptor* MessageAround(const Tokens& tokens, size_t at, const PluginTypes& types) {
  struct Level {
    const pb::Descriptor* type;
    const pb::Descriptor* next = nullptr;  // Of the field that was named last.
    bool list = false;                     // Between [ and ] of a field's values.
  };
  std::vector<Level> levels = {{v1::JobSpec::descriptor()}};
  for (size_t i = 0; i < at; ++i) {
    const std::string& text = tokens[i].text;
    const bool is_value = (i > 0 && tokens[i - 1].text == ":") || levels.back().list;
    if (text == "{" || text == "<") {
      levels.push_back({levels.back().next});
    } else if (text == "}" || text == ">") {
      if (levels.size() == 1) return nullptr;
      levels.pop_back();
    } else if (text == "[" && is_value) {
      levels.back().list = true;
    } else if (text == "[") {
      std::string url;
      while (++i < at && tokens[i].text != "]") url += tokens[i].text;
      levels.back().next = types.Find(TypeName(url));
    } else if (text == "]") {
      levels.back().list = false;
    } else if (!is_value && levels.back().type != nullptr) {
      const pb::FieldDescriptor* const field = levels.back().type->FindFieldByName(text);
      levels.back().next = field == nullptr ? nullptr : field->message_type();
    }
  }
  return levels.back().type;
}

// One error as a finding. `bad` becomes the tokens of the field that may be left out to find further errors.
std::string Explain(std::string_view name, std::string_view content, const FirstError& error, const Tokens& tokens,
                    const PluginTypes& types, std::optional<std::pair<size_t, size_t>>* bad) {
  if (error.line < 0) return StrCat(name, ": ", error.message);
  const size_t offset = Places(content).OffsetOf(error.line, error.column);
  const auto leave_out = [&](std::optional<size_t> field) {
    if (!field.has_value()) return;
    if (const auto after = AfterField(tokens, *field)) *bad = {*field, *after};
  };
  if (const std::string field = Quoted(error.message, "has no field named \""); !field.empty()) {
    const std::optional<size_t> at = FindBefore(tokens, field, offset);
    leave_out(at);
    const pb::Descriptor* const type = types.Find(Quoted(error.message, "Message type \""));
    const size_t place = at.has_value() ? tokens[*at].begin : offset;
    if (type == nullptr) return Finding(name, content, place, error.message);
    std::vector<std::string> known;
    for (int i = 0; i < type->field_count(); ++i) known.push_back(type->field(i)->name());
    return Finding(name, content, place,
                   StrCat(type->name(), " has no field \"", field, "\"", DidYouMean(field, known)));
  }
  if (const std::string type = Quoted(error.message, "Could not find type \""); !type.empty()) {
    const size_t at = content.substr(0, offset).rfind(type);
    return Finding(
        name, content, at == std::string_view::npos ? offset : at,
        StrCat("the plugin has no message \"", TypeName(type), "\"; editctl init PLUGIN shows what it takes"));
  }
  if (const std::string value = Quoted(error.message, "Unknown enumeration value of \""); !value.empty()) {
    const std::string field = Quoted(error.message, "for field \"");
    const std::optional<size_t> at = FindBefore(tokens, value, offset);
    const size_t place = at.has_value() ? tokens[*at].begin : offset;
    const std::optional<size_t> field_at = FindBefore(tokens, field, place);
    leave_out(field_at);
    const pb::Descriptor* const type = field_at.has_value() ? MessageAround(tokens, *field_at, types) : nullptr;
    const pb::FieldDescriptor* const described = type == nullptr ? nullptr : type->FindFieldByName(field);
    if (described == nullptr || described->enum_type() == nullptr) {
      return Finding(name, content, place, StrCat(field, ": \"", value, "\" is none of its values"));
    }
    return Finding(name, content, place, StrCat(field, ": ", NoSuchValue(*described->enum_type(), value)));
  }
  // The field of a wrong value is the word before ":".
  std::string message = error.message;
  if (!message.empty()) message[0] = absl::ascii_tolower(static_cast<unsigned char>(message[0]));
  const std::optional<size_t> colon = FindBefore(tokens, ":", offset);
  const bool is_value =
      colon.has_value() && *colon > 0 && (*colon + 1 >= tokens.size() || tokens[*colon + 1].begin >= offset);
  return Finding(name, content, offset, is_value ? StrCat(tokens[*colon - 1].text, ": ", message) : message);
}

}  // namespace

std::string NoSuchValue(const pb::EnumDescriptor& type, std::string_view value) {
  const std::string upper = absl::AsciiStrToUpper(ToAbsl(value));
  std::vector<std::string> known;
  std::string all;
  std::string hint;
  for (int i = 0; i < type.value_count(); ++i) {
    const std::string& name = type.value(i)->name();
    known.push_back(name);
    if (name.ends_with("_UNSPECIFIED")) continue;
    StrAppend(&all, all.empty() ? "" : ", ", name);
    if (name.ends_with("_" + upper)) hint = StrCat("; did you mean \"", name, "\"?");  // The prefix was left out.
  }
  if (hint.empty()) hint = DidYouMean(upper, known);
  if (hint.empty() && type.value_count() <= kValuesListed) hint = StrCat("; they are ", all);
  return StrCat("\"", value, "\" is none of its values", hint);
}

absl::StatusOr<std::string> PluginOfText(std::string_view content, std::string_view name) {
  FirstError error;
  const Tokens tokens = ReadTokens(content, &error);
  std::string plugin;
  int depth = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (depth == 0 && plugin.empty() && i >= 2 && tokens[i].is_string && tokens[i - 1].text == ":" &&
        tokens[i - 2].text == "plugin") {
      pb::io::Tokenizer::ParseString(tokens[i].text, &plugin);
    }
    depth += tokens[i].opens() ? 1 : tokens[i].closes() ? -1 : 0;
    // protobuf's own limit does not see an Any in an Any.
    if (depth > kSpecDepthLimit) {
      return absl::InvalidArgumentError(
          Finding(name, content, tokens[i].begin, StrCat("nested more than ", kSpecDepthLimit, " deep")));
    }
  }
  // What is wrong later on is for the parser to tell.
  if (error.failed && plugin.empty()) {
    return absl::InvalidArgumentError(
        Finding(name, content, Places(content).OffsetOf(std::max(0, error.line), error.column), error.message));
  }
  return plugin;
}

absl::StatusOr<v1::JobSpec> ParseSpecText(std::string_view content, std::string_view name, const PluginTypes& types) {
  RETURN_IF_ERROR(PluginOfText(content, name).status());
  FirstError ignored;
  Tokens tokens = ReadTokens(content, &ignored);
  std::string text(content);
  std::string findings;
  for (size_t i = 0; i < kMostFindings; ++i) {
    FirstError error;
    pb::TextFormat::Parser parser;
    parser.RecordErrorsTo(&error);
    parser.SetFinder(types.finder());
    parser.SetRecursionLimit(kSpecDepthLimit);
    v1::JobSpec spec;
    if (parser.ParseFromString(text, &spec)) {
      if (findings.empty()) return spec;
      break;
    }
    std::optional<std::pair<size_t, size_t>> bad;
    StrAppend(&findings, findings.empty() ? "" : "\n", Explain(name, content, error, tokens, types, &bad));
    if (!bad.has_value()) break;
    const auto [first, last] = *bad;
    for (size_t at = tokens[first].begin; at < tokens[last - 1].end(); ++at) {
      if (text[at] != '\n' && text[at] != '\t') text[at] = ' ';
    }
    tokens.erase(tokens.begin() + static_cast<ptrdiff_t>(first), tokens.begin() + static_cast<ptrdiff_t>(last));
  }
  return absl::InvalidArgumentError(findings);
}

}  // namespace editd::client
