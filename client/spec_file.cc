#include "client/spec_file.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/unknown_field_set.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/ascii.h"
#include "client/spec_json.h"
#include "storage/base/file.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;

constexpr size_t kSpecLimit = 1 << 20;
constexpr int kDepthLimit = 64;

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

// What stands between the quotes after `before` in `message`; empty if it is not there.
std::string Quoted(std::string_view message, std::string_view before) {
  const size_t start = message.find(before);
  if (start == std::string_view::npos) return "";
  const std::string_view rest = message.substr(start + before.size());
  const size_t end = rest.find('"');
  return end == std::string_view::npos ? "" : std::string(rest.substr(0, end));
}

// The byte at which the tokenizer counts `line` and `column` (from 0; a tab goes to the next multiple of eight).
size_t OffsetOf(std::string_view content, int line, int column) {
  size_t at = 0;
  for (; line > 0 && at < content.size(); ++at) line -= content[at] == '\n' ? 1 : 0;
  for (int seen = 0; seen < column && at < content.size() && content[at] != '\n'; ++at) {
    seen = content[at] == '\t' ? (seen / 8 + 1) * 8 : seen + 1;
  }
  return at;
}

// "FILE:LINE:COLUMN: message" of a byte, as editors count.
absl::Status Finding(std::string_view name, std::string_view content, size_t offset, std::string_view message) {
  size_t line = 1;
  size_t start = 0;
  for (size_t i = 0; i < offset && i < content.size(); ++i) {
    if (content[i] != '\n') continue;
    ++line;
    start = i + 1;
  }
  return absl::InvalidArgumentError(StrCat(name, ":", line, ":", offset - start + 1, ": ", message));
}

// The field whose value begins at `offset`: the word before ":". Empty if there is none.
std::string FieldBefore(std::string_view content, size_t offset) {
  size_t end = std::min(offset, content.size());
  while (end > 0 && (content[end - 1] == ' ' || content[end - 1] == ':')) --end;
  size_t start = end;
  while (start > 0 &&
         (content[start - 1] == '_' || absl::ascii_isalnum(static_cast<unsigned char>(content[start - 1])))) {
    --start;
  }
  return end < offset ? std::string(content.substr(start, end - start)) : "";
}

// The parser's error with what helps: the nearest field, the field of a wrong value. The parser names the token after
// the one that it stumbled over; the place told here is that of the word in question.
absl::Status Explain(std::string_view name, std::string_view content, const FirstError& error,
                     const PluginTypes& types) {
  if (error.line < 0) return absl::InvalidArgumentError(StrCat(name, ": ", error.message));
  const size_t offset = OffsetOf(content, error.line, error.column);
  const auto place_of = [&](const std::string& word) {
    const size_t at = offset < word.size() ? std::string_view::npos : content.rfind(word, offset - word.size());
    return at == std::string_view::npos ? offset : at;
  };
  if (const std::string field = Quoted(error.message, "has no field named \""); !field.empty()) {
    const pb::Descriptor* const type = types.Find(Quoted(error.message, "Message type \""));
    if (type == nullptr) return Finding(name, content, place_of(field), error.message);
    std::vector<std::string> known;
    for (int i = 0; i < type->field_count(); ++i) known.push_back(type->field(i)->name());
    return Finding(name, content, place_of(field),
                   StrCat(type->name(), " has no field \"", field, "\"", DidYouMean(field, known)));
  }
  if (const std::string type = Quoted(error.message, "Could not find type \""); !type.empty()) {
    return Finding(
        name, content, place_of(type),
        StrCat("the plugin has no message \"", TypeName(type), "\"; editctl init PLUGIN shows what it takes"));
  }
  if (const std::string value = Quoted(error.message, "Unknown enumeration value of \""); !value.empty()) {
    return Finding(name, content, place_of(value),
                   StrCat(Quoted(error.message, "for field \""), ": \"", value, "\" is none of its values"));
  }
  const std::string field = FieldBefore(content, offset);
  std::string message = error.message;
  if (!message.empty() && message[0] >= 'A' && message[0] <= 'Z')
    message[0] = absl::ascii_tolower(static_cast<unsigned char>(message[0]));
  return Finding(name, content, offset, field.empty() ? message : StrCat(field, ": ", message));
}

// Unknown fields of a message and of those in it, each with its path.
void FindUnknown(const pb::Message& message, const PluginTypes& types, const std::string& path, int depth,
                 std::vector<std::string>* findings) {
  const std::string here = path.empty() ? "" : StrCat(path, ": ");
  if (depth > kDepthLimit) {
    findings->push_back(StrCat(here, "messages are nested more than ", kDepthLimit, " deep"));
    return;
  }
  const pb::Reflection& reflection = *message.GetReflection();
  const pb::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  for (int i = 0; i < unknown.field_count(); ++i) {
    findings->push_back(
        StrCat(here, message.GetDescriptor()->name(), " has no field with the number ", unknown.field(i).number()));
  }
  if (message.GetDescriptor() == pb::Any::descriptor()) {
    const auto& any = static_cast<const pb::Any&>(message);
    if (any.type_url().empty()) return;
    const auto inner = types.Unpack(any);
    if (!inner.ok()) {
      findings->push_back(StrCat(here, inner.status().message()));
    } else {
      FindUnknown(**inner, types, path, depth + 1, findings);
    }
    return;
  }
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string field_path = path.empty() ? field->name() : StrCat(path, ".", field->name());
    if (!field->is_repeated()) {
      FindUnknown(reflection.GetMessage(message, field), types, field_path, depth + 1, findings);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      FindUnknown(reflection.GetRepeatedMessage(message, field, i), types, StrCat(field_path, "[", i, "]"), depth + 1,
                  findings);
    }
  }
}

// Also checks the depth, which protobuf's own limit does not do for an Any in an Any.
absl::StatusOr<std::string> PluginOfText(std::string_view content, std::string_view name) {
  pb::io::ArrayInputStream input(content.data(), static_cast<int>(content.size()));
  FirstError error;
  pb::io::Tokenizer tokenizer(&input, &error);
  tokenizer.set_allow_f_after_float(true);
  tokenizer.set_comment_style(pb::io::Tokenizer::SH_COMMENT_STYLE);
  tokenizer.set_require_space_after_number(false);
  tokenizer.set_allow_multiline_strings(true);
  std::string plugin;
  int depth = 0;
  // 1: "plugin" was read on the top level; 2: and the colon.
  int seen = 0;
  while (tokenizer.Next() && !error.failed) {
    const pb::io::Tokenizer::Token& token = tokenizer.current();
    if (seen == 2 && token.type == pb::io::Tokenizer::TYPE_STRING && plugin.empty()) {
      pb::io::Tokenizer::ParseString(token.text, &plugin);
    }
    if (token.text == "{" || token.text == "<" || token.text == "[") ++depth;
    if (token.text == "}" || token.text == ">" || token.text == "]") --depth;
    if (depth > kDepthLimit) {
      return Finding(name, content, OffsetOf(content, token.line, token.column),
                     StrCat("nested more than ", kDepthLimit, " deep"));
    }
    if (depth != 0) continue;
    seen = token.text == "plugin" ? 1 : seen == 1 && token.text == ":" ? 2 : 0;
  }
  // What is wrong later on is for the parser to tell.
  if (error.failed && plugin.empty()) {
    return Finding(name, content, OffsetOf(content, std::max(0, error.line), error.column), error.message);
  }
  return plugin;
}

absl::StatusOr<v1::JobSpec> ParseText(std::string_view content, std::string_view name, const PluginTypes& types) {
  RETURN_IF_ERROR(PluginOfText(content, name).status());
  FirstError error;
  pb::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetFinder(types.finder());
  parser.SetRecursionLimit(kDepthLimit);
  v1::JobSpec spec;
  if (!parser.ParseFromString(std::string(content), &spec)) {
    return Explain(name, content, error, types);
  }
  return spec;
}

}  // namespace

SpecForm FormOf(std::string_view content) {
  const size_t first = content.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && content[first] == '{') return SpecForm::kJson;
  for (size_t i = 0; i < content.size();) {
    const auto c = static_cast<unsigned char>(content[i]);
    if (c == 0x7f || (c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f')) return SpecForm::kBinary;
    const int length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (length == 0 || i + static_cast<size_t>(length) > content.size()) return SpecForm::kBinary;
    for (int k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(content[i + static_cast<size_t>(k)]) & 0xc0) != 0x80) return SpecForm::kBinary;
    }
    i += static_cast<size_t>(length);
  }
  return SpecForm::kText;
}

absl::StatusOr<std::string> ReadSpecFile(const std::string& file) {
  const std::string name = file == "-" ? "standard input" : file;
  UniqueFd opened;
  if (file != "-") {
    ASSIGN_OR_RETURN(opened, OpenForRead(file));
  }
  const int fd = file == "-" ? STDIN_FILENO : opened.get();
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", name));
    if (n == 0) break;
    content.append(buffer, static_cast<size_t>(n));
    if (content.size() > kSpecLimit) {
      return absl::InvalidArgumentError(StrCat(name, ": more than 1 MiB; a job spec is smaller"));
    }
  }
  if (content.find_first_not_of(" \t\r\n") == std::string::npos) {
    return absl::InvalidArgumentError(StrCat(name, ": nothing in it; editctl init PLUGIN writes an example"));
  }
  return content;
}

absl::StatusOr<std::string> PluginOf(std::string_view content, std::string_view name) {
  std::string plugin;
  switch (FormOf(content)) {
    case SpecForm::kText: {
      ASSIGN_OR_RETURN(plugin, PluginOfText(content, name));
      break;
    }
    case SpecForm::kJson: {
      ASSIGN_OR_RETURN(plugin, PluginOfJson(content, name));
      break;
    }
    case SpecForm::kBinary: {
      v1::JobSpec spec;
      if (!spec.ParseFromArray(content.data(), static_cast<int>(content.size()))) {
        return absl::InvalidArgumentError(StrCat(name, ": neither text, nor JSON, nor a binary editd.v1.JobSpec"));
      }
      plugin = spec.plugin();
      break;
    }
  }
  if (plugin.empty()) {
    return absl::InvalidArgumentError(StrCat(name, ": plugin: is not set; editctl plugins lists what there is"));
  }
  return plugin;
}

absl::StatusOr<v1::JobSpec> ParseSpec(std::string_view content, std::string_view name, const PluginTypes& types) {
  v1::JobSpec spec;
  switch (FormOf(content)) {
    case SpecForm::kText: {
      ASSIGN_OR_RETURN(spec, ParseText(content, name, types));
      break;
    }
    case SpecForm::kJson: {
      ASSIGN_OR_RETURN(spec, ParseSpecJson(content, name, types));
      break;
    }
    case SpecForm::kBinary: {
      if (!spec.ParseFromArray(content.data(), static_cast<int>(content.size()))) {
        return absl::InvalidArgumentError(StrCat(name, ": neither text, nor JSON, nor a binary editd.v1.JobSpec"));
      }
      break;
    }
  }
  std::vector<std::string> findings;
  FindUnknown(spec, types, "", 0, &findings);
  if (findings.empty()) return spec;
  std::string all;
  for (const std::string& finding : findings) StrAppend(&all, all.empty() ? "" : "\n", name, ": ", finding);
  return absl::InvalidArgumentError(all);
}

}  // namespace editd::client
