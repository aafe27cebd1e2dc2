#include "client/spec_json.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/type_resolver.h>
#include <google/protobuf/util/type_resolver_util.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "client/message_json.h"
#include "client/spec_text.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;
using Json = nlohmann::json;

constexpr int kDepthLimit = 64;
constexpr std::string_view kTypePrefix = "type.googleapis.com";

// ":LINE:COLUMN" of a byte.
std::string Place(std::string_view content, size_t byte) {
  size_t line = 1;
  size_t start = 0;
  for (size_t i = 0; i < byte && i < content.size(); ++i) {
    if (content[i] != '\n') continue;
    ++line;
    start = i + 1;
  }
  return StrCat(":", line, ":", byte - start + 1);
}

// The place of a key, if it occurs only once in quotes; else nothing: a wrong place is worse than none.
std::string PlaceOfKey(std::string_view content, const std::string& key) {
  const std::string quoted = JsonString(key);
  const size_t first = content.find(quoted);
  if (first == std::string_view::npos || content.find(quoted, first + 1) != std::string_view::npos) return "";
  return Place(content, first);
}

absl::StatusOr<Json> ParseJson(std::string_view content, std::string_view name) {
  // Depth is checked before parsing: protobuf's reader and our walk recurse.
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < content.size(); ++i) {
    const char c = content[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDepthLimit) {
        return absl::InvalidArgumentError(StrCat(name, Place(content, i), ": nested more than ", kDepthLimit, " deep"));
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  try {
    return Json::parse(content.begin(), content.end());
  } catch (const Json::parse_error& error) {
    std::string message = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const size_t colon = message.find(": ");
    if (colon != std::string::npos) message = message.substr(colon + 2);
    return absl::InvalidArgumentError(
        StrCat(name, Place(content, error.byte == 0 ? 0 : error.byte - 1), ": ", message));
  } catch (const Json::out_of_range&) {
    return absl::InvalidArgumentError(StrCat(name, ": a number is larger than any type holds"));
  }
}

// "minCount" -> "min_count"
std::string SnakeCase(std::string_view name) {
  std::string snake;
  for (const char c : name) {
    if (c >= 'A' && c <= 'Z') snake += '_';
    snake += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return snake;
}

class Walk {
 public:
  Walk(std::string_view content, std::string_view name, const PluginTypes& types)
      : content_(content), name_(name), types_(types) {}

  void Object(const Json& json, const pb::Descriptor& type, const std::string& path, bool in_any = false) {
    if (!json.is_object()) return;  // protobuf tells.
    if (type.full_name() == "google.protobuf.Any" && !in_any) {
      Any(json, path);
      return;
    }
    for (const auto& [key, value] : json.items()) {
      if (in_any && key == "@type") continue;
      const pb::FieldDescriptor* const field = Field(type, key);
      if (field == nullptr) {
        std::vector<std::string> known;
        for (int i = 0; i < type.field_count(); ++i) known.push_back(type.field(i)->name());
        Add(PlaceOfKey(content_, key), path,
            StrCat(type.name(), " has no field \"", key, "\"", DidYouMean(SnakeCase(key), known)));
        continue;
      }
      const std::string field_path = path.empty() ? field->name() : StrCat(path, ".", field->name());
      if (field->is_map()) {
        const pb::FieldDescriptor& mapped = *field->message_type()->map_value();
        if (mapped.message_type() == nullptr || !value.is_object()) continue;
        for (const auto& [map_key, element] : value.items()) {
          Object(element, *mapped.message_type(), StrCat(field_path, "[", JsonString(map_key), "]"));
        }
      } else if (field->message_type() != nullptr && field->is_repeated() && value.is_array()) {
        for (size_t i = 0; i < value.size(); ++i) {
          Object(value[i], *field->message_type(), StrCat(field_path, "[", i, "]"));
        }
      } else if (field->message_type() != nullptr) {
        Object(value, *field->message_type(), field_path);
      } else if (field->enum_type() != nullptr) {
        for (const Json& element : value.is_array() ? value : Json::array({value})) {
          if (!element.is_string()) continue;
          const std::string word = element.get<std::string>();
          if (word.find_first_not_of("0123456789") == std::string::npos) continue;  // protobuf takes a number, too.
          if (field->enum_type()->FindValueByName(word) != nullptr) continue;
          Add(PlaceOfKey(content_, word), field_path, NoSuchValue(*field->enum_type(), word));
        }
      }
    }
  }

  std::string findings() && { return std::move(findings_); }

 private:
  static const pb::FieldDescriptor* Field(const pb::Descriptor& type, const std::string& key) {
    if (const pb::FieldDescriptor* field = type.FindFieldByName(key); field != nullptr) return field;
    for (int i = 0; i < type.field_count(); ++i) {
      if (type.field(i)->json_name() == key) return type.field(i);
    }
    return nullptr;
  }

  void Any(const Json& json, const std::string& path) {
    const auto type_url = json.find("@type");
    if (type_url == json.end() || !type_url->is_string()) {
      Add("", path, "has no \"@type\"; editctl init PLUGIN shows what the plugin takes");
      return;
    }
    const std::string url = type_url->get<std::string>();
    const pb::Descriptor* const inner = types_.Find(TypeName(url));
    if (inner == nullptr) {
      Add(PlaceOfKey(content_, url), path,
          StrCat("the plugin has no message \"", TypeName(url), "\"; editctl init PLUGIN shows what it takes"));
      return;
    }
    if (inner->full_name() != "google.protobuf.Any") Object(json, *inner, path, /*in_any=*/true);
  }

  void Add(std::string_view place, const std::string& path, const std::string& message) {
    StrAppend(&findings_, findings_.empty() ? "" : "\n", name_, place, ": ", path.empty() ? "" : path + ": ", message);
  }

  const std::string_view content_;
  const std::string_view name_;
  const PluginTypes& types_;
  std::string findings_;
};

}  // namespace

absl::StatusOr<std::string> PluginOfJson(std::string_view content, std::string_view name) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(content, name));
  const auto plugin = json.find("plugin");
  return plugin != json.end() && plugin->is_string() ? plugin->get<std::string>() : "";
}

absl::StatusOr<v1::JobSpec> ParseSpecJson(std::string_view content, std::string_view name, const PluginTypes& types) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(content, name));
  Walk walk(content, name, types);
  walk.Object(json, *v1::JobSpec::descriptor(), "");
  const std::string findings = std::move(walk).findings();
  if (!findings.empty()) return absl::InvalidArgumentError(findings);

  const std::unique_ptr<pb::util::TypeResolver> resolver(
      pb::util::NewTypeResolverForDescriptorPool(std::string(kTypePrefix), types.pool()));
  std::string wire;
  const auto status = pb::util::JsonToBinaryString(
      resolver.get(), StrCat(kTypePrefix, "/", v1::JobSpec::descriptor()->full_name()), std::string(content), &wire);
  if (!status.ok()) {
    // "(params.keep): invalid value ..." is protobuf's way; ours is "params.keep: ...".
    std::string message = std::string(status.message().data(), status.message().size());
    if (const size_t close = message.find(')'); message.starts_with("(") && close != std::string::npos) {
      message = message.substr(1, close - 1) + message.substr(close + 1);
    }
    return absl::InvalidArgumentError(StrCat(name, ": ", message));
  }
  v1::JobSpec spec;
  if (!spec.ParseFromString(wire)) return absl::InvalidArgumentError(StrCat(name, ": not an editd.v1.JobSpec"));
  return spec;
}

}  // namespace editd::client
