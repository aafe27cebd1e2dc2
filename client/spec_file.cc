#include "client/spec_file.h"

#include <google/protobuf/unknown_field_set.h>
#include <unistd.h>

#include <cerrno>

#include "client/spec_json.h"
#include "client/spec_text.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;

constexpr size_t kSpecLimit = 1 << 20;

// Unknown fields of a message and of those in it, each with its path.
void FindUnknown(const pb::Message& message, const PluginTypes& types, const std::string& path, int depth,
                 std::vector<std::string>* findings) {
  const std::string here = path.empty() ? "" : StrCat(path, ": ");
  if (depth > kSpecDepthLimit) {
    findings->push_back(StrCat(here, "messages are nested more than ", kSpecDepthLimit, " deep"));
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
      ASSIGN_OR_RETURN(spec, ParseSpecText(content, name, types));
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
