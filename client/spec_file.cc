#include "client/spec_file.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/unknown_field_set.h>
#include <unistd.h>

#include <cerrno>

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

// The parser's sentence with what helps: the nearest field, the values of an enumeration, the type that is wanted.
std::string Explain(const std::string& message, const PluginTypes& types) {
  if (const std::string field = Quoted(message, "has no field named \""); !field.empty()) {
    const std::string type = Quoted(message, "Message type \"");
    const pb::Descriptor* const descriptor = types.Find(type);
    if (descriptor == nullptr) return message;
    std::vector<std::string> known;
    for (int i = 0; i < descriptor->field_count(); ++i) known.push_back(descriptor->field(i)->name());
    return StrCat(descriptor->name(), " has no field \"", field, "\"", DidYouMean(field, known));
  }
  if (const std::string type = Quoted(message, "Could not find type \""); !type.empty()) {
    return StrCat("the plugin has no message \"", TypeName(type), "\"; editctl init PLUGIN shows what it takes");
  }
  return message;
}

absl::Status Finding(std::string_view name, int line, int column, std::string_view message) {
  if (line < 0) return absl::InvalidArgumentError(StrCat(name, ": ", message));
  return absl::InvalidArgumentError(StrCat(name, ":", line + 1, ":", column + 1, ": ", message));
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

absl::StatusOr<v1::JobSpec> ParseText(std::string_view content, std::string_view name, const PluginTypes& types) {
  FirstError error;
  pb::TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.SetFinder(types.finder());
  parser.SetRecursionLimit(kDepthLimit);
  v1::JobSpec spec;
  if (!parser.ParseFromString(std::string(content), &spec)) {
    return Finding(name, error.line, error.column, Explain(error.message, types));
  }
  return spec;
}

absl::StatusOr<std::string> PluginOfText(std::string_view content, std::string_view name) {
  pb::io::ArrayInputStream input(content.data(), static_cast<int>(content.size()));
  FirstError error;
  pb::io::Tokenizer tokenizer(&input, &error);
  tokenizer.set_allow_f_after_float(true);
  tokenizer.set_comment_style(pb::io::Tokenizer::SH_COMMENT_STYLE);
  tokenizer.set_require_space_after_number(false);
  tokenizer.set_allow_multiline_strings(true);
  int depth = 0;
  // 1: "plugin" was read on the top level; 2: and the colon.
  int seen = 0;
  while (tokenizer.Next() && !error.failed) {
    const pb::io::Tokenizer::Token& token = tokenizer.current();
    if (seen == 2 && token.type == pb::io::Tokenizer::TYPE_STRING) {
      std::string plugin;
      pb::io::Tokenizer::ParseString(token.text, &plugin);
      return plugin;
    }
    if (token.text == "{" || token.text == "<" || token.text == "[") ++depth;
    if (token.text == "}" || token.text == ">" || token.text == "]") --depth;
    if (depth != 0) continue;
    seen = token.text == "plugin" ? 1 : seen == 1 && token.text == ":" ? 2 : 0;
  }
  if (error.failed) return Finding(name, error.line, error.column, error.message);
  return "";
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
