#include "client/message_json.h"

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;
using Field = pb::FieldDescriptor;

template <typename Number>
std::string Floating(Number value) {
  if (std::isnan(value)) return "\"NaN\"";
  if (std::isinf(value)) return value > 0 ? "\"Infinity\"" : "\"-Infinity\"";
  char digits[64];
  return std::string(digits, std::to_chars(digits, digits + sizeof(digits), value).ptr);
}

class Printer {
 public:
  Printer(const PluginTypes* types, std::string* out) : types_(types), out_(*out) {}

  void Print(const pb::Message& message, std::string_view type_url = {}) {
    if (message.GetDescriptor() == pb::Any::descriptor()) {
      PrintAny(static_cast<const pb::Any&>(message));
      return;
    }
    if (message.GetDescriptor() == pb::Timestamp::descriptor()) {
      out_ += JsonString(pb::util::TimeUtil::ToString(static_cast<const pb::Timestamp&>(message)));
      return;
    }
    if (message.GetDescriptor() == pb::Duration::descriptor()) {
      out_ += JsonString(pb::util::TimeUtil::ToString(static_cast<const pb::Duration&>(message)));
      return;
    }
    out_ += '{';
    bool first = true;
    if (!type_url.empty()) {
      StrAppend(&out_, "\"@type\":", JsonString(type_url));
      first = false;
    }
    const pb::Descriptor& descriptor = *message.GetDescriptor();
    const pb::Reflection& reflection = *message.GetReflection();
    for (int i = 0; i < descriptor.field_count(); ++i) {
      const Field& field = *descriptor.field(i);
      const bool optional = field.has_presence() || field.containing_oneof() != nullptr;
      if (!field.is_repeated() && optional && !reflection.HasField(message, &field)) continue;
      if (!first) out_ += ',';
      first = false;
      StrAppend(&out_, "\"", field.name(), "\":");
      if (field.is_map()) {
        PrintMap(message, field);
      } else if (field.is_repeated()) {
        PrintRepeated(message, field);
      } else {
        PrintValue(message, field, -1);
      }
    }
    out_ += '}';
  }

 private:
  void PrintAny(const pb::Any& any) {
    if (any.type_url().empty()) {
      out_ += "{}";
      return;
    }
    if (types_ != nullptr) {
      const auto inner = types_->Unpack(any);
      if (inner.ok()) {
        Print(**inner, any.type_url());
        return;
      }
    }
    StrAppend(&out_, "{\"@type\":", JsonString(any.type_url()), ",\"value\":\"", absl::Base64Escape(any.value()),
              "\"}");
  }

  void PrintMap(const pb::Message& message, const Field& field) {
    const pb::Reflection& reflection = *message.GetReflection();
    const Field& key = *field.message_type()->map_key();
    const Field& value = *field.message_type()->map_value();
    std::map<std::string, const pb::Message*> entries;  // Sorted: the same map gives the same line.
    for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
      const pb::Message& entry = reflection.GetRepeatedMessage(message, &field, i);
      std::string name;
      Printer printer(types_, &name);
      printer.PrintValue(entry, key, -1);
      entries[name.starts_with('"') ? name : StrCat("\"", name, "\"")] = &entry;
    }
    out_ += '{';
    bool first = true;
    for (const auto& [name, entry] : entries) {
      if (!first) out_ += ',';
      first = false;
      StrAppend(&out_, name, ":");
      PrintValue(*entry, value, -1);
    }
    out_ += '}';
  }

  void PrintRepeated(const pb::Message& message, const Field& field) {
    out_ += '[';
    for (int i = 0; i < message.GetReflection()->FieldSize(message, &field); ++i) {
      if (i > 0) out_ += ',';
      PrintValue(message, field, i);
    }
    out_ += ']';
  }

  // `index` -1: the field is not repeated.
  void PrintValue(const pb::Message& message, const Field& field, int index) {
    const pb::Reflection& r = *message.GetReflection();
    switch (field.cpp_type()) {
      case Field::CPPTYPE_INT32:
        StrAppend(&out_, index < 0 ? r.GetInt32(message, &field) : r.GetRepeatedInt32(message, &field, index));
        return;
      case Field::CPPTYPE_INT64:
        StrAppend(&out_, index < 0 ? r.GetInt64(message, &field) : r.GetRepeatedInt64(message, &field, index));
        return;
      case Field::CPPTYPE_UINT32:
        StrAppend(&out_, index < 0 ? r.GetUInt32(message, &field) : r.GetRepeatedUInt32(message, &field, index));
        return;
      case Field::CPPTYPE_UINT64:
        StrAppend(&out_, index < 0 ? r.GetUInt64(message, &field) : r.GetRepeatedUInt64(message, &field, index));
        return;
      case Field::CPPTYPE_DOUBLE:
        out_ += Floating(index < 0 ? r.GetDouble(message, &field) : r.GetRepeatedDouble(message, &field, index));
        return;
      case Field::CPPTYPE_FLOAT:
        out_ += Floating(index < 0 ? r.GetFloat(message, &field) : r.GetRepeatedFloat(message, &field, index));
        return;
      case Field::CPPTYPE_BOOL:
        out_ += (index < 0 ? r.GetBool(message, &field) : r.GetRepeatedBool(message, &field, index)) ? "true" : "false";
        return;
      case Field::CPPTYPE_ENUM: {
        const int number = index < 0 ? r.GetEnumValue(message, &field) : r.GetRepeatedEnumValue(message, &field, index);
        const pb::EnumValueDescriptor* const value = field.enum_type()->FindValueByNumber(number);
        if (value != nullptr) {
          StrAppend(&out_, "\"", value->name(), "\"");
        } else {
          StrAppend(&out_, number);
        }
        return;
      }
      case Field::CPPTYPE_STRING: {
        const std::string value =
            index < 0 ? r.GetString(message, &field) : r.GetRepeatedString(message, &field, index);
        if (field.type() == Field::TYPE_BYTES) {
          StrAppend(&out_, "\"", absl::Base64Escape(value), "\"");
        } else {
          out_ += JsonString(value);
        }
        return;
      }
      case Field::CPPTYPE_MESSAGE:
        Print(index < 0 ? r.GetMessage(message, &field) : r.GetRepeatedMessage(message, &field, index));
        return;
    }
  }

  const PluginTypes* const types_;
  std::string& out_;
};

}  // namespace

std::string ToJson(const pb::Message& message, const PluginTypes* types) {
  std::string json;
  Printer(types, &json).Print(message);
  return json;
}

std::string JsonString(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string JsonNumber(double value) { return Floating(value); }

}  // namespace editd::client
