#include "client/plugin_types.h"

#include <google/protobuf/descriptor.pb.h>

#include "editd/v1/options.pb.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;

class Errors : public pb::DescriptorPool::ErrorCollector {
 public:
  void AddError(const std::string& file, const std::string& element, const pb::Message*, ErrorLocation,
                const std::string& message) override {
    if (first.empty()) first = StrCat(file, ": ", element, ": ", message);
  }
  std::string first;
};

}  // namespace

std::string_view TypeName(std::string_view type_url) { return type_url.substr(type_url.rfind('/') + 1); }

PluginTypes::PluginTypes() : pool_(pb::DescriptorPool::generated_pool()), factory_(&pool_) {
  // So that options.proto is linked, and its file is in the generated pool.
  v1::PathKind_descriptor();
  factory_.SetDelegateToGeneratedFactory(true);
}

PluginTypes::~PluginTypes() = default;

absl::Status PluginTypes::Add(std::string_view plugin, std::string_view descriptors) {
  pb::FileDescriptorSet files;
  if (!files.ParseFromArray(descriptors.data(), static_cast<int>(descriptors.size()))) {
    return absl::DataLossError(StrCat("plugin ", plugin, ": its descriptors are not a FileDescriptorSet"));
  }
  for (const pb::FileDescriptorProto& file : files.file()) {
    if (pool_.FindFileByName(file.name()) != nullptr) continue;
    Errors errors;
    if (pool_.BuildFileCollectingErrors(file, &errors) == nullptr) {
      return absl::DataLossError(StrCat("plugin ", plugin, ": its descriptors are wrong: ", errors.first));
    }
  }
  return absl::OkStatus();
}

const pb::Descriptor* PluginTypes::Find(std::string_view full_name) const {
  return pool_.FindMessageTypeByName(std::string(full_name));
}

absl::StatusOr<std::unique_ptr<pb::Message>> PluginTypes::Unpack(const pb::Any& any) const {
  const pb::Descriptor* const type = Find(TypeName(any.type_url()));
  if (type == nullptr) return absl::NotFoundError(StrCat("no message type named \"", TypeName(any.type_url()), "\""));
  std::unique_ptr<pb::Message> message(factory_.GetPrototype(type)->New());
  if (!message->ParseFromString(any.value())) {
    return absl::DataLossError(StrCat("what should be ", type->full_name(), " is not one"));
  }
  return message;
}

std::string PluginTypes::ToText(const pb::Message& message) const {
  pb::TextFormat::Printer printer;
  printer.SetFinder(this);
  printer.SetExpandAny(true);
  printer.SetUseUtf8StringEscaping(true);
  std::string text;
  printer.PrintToString(message, &text);
  return text;
}

const pb::Descriptor* PluginTypes::FindAnyType(const pb::Message&, const std::string& prefix,
                                               const std::string& name) const {
  if (prefix != "type.googleapis.com/" && prefix != "type.googleprod.com/") return nullptr;
  return Find(name);
}

}  // namespace editd::client
