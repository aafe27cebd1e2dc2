// PluginTypes: the messages of a plugin that this program was never built with, from the descriptors that the daemon
// serves.
//
// They live in a pool of their own above the generated one: files that the program knows (editd/v1/options.proto, the
// well-known types) are taken from there, so that field options such as path_kind read as usual. One instance may hold
// several plugins, as long as they don't define the same name differently.
//
// Thread-compatible. Descriptors and messages must not outlive it.
#ifndef EDITD_CLIENT_PLUGIN_TYPES_H_
#define EDITD_CLIENT_PLUGIN_TYPES_H_

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>

#include <memory>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace editd::client {

class PluginTypes : private google::protobuf::TextFormat::Finder {
 public:
  PluginTypes();
  ~PluginTypes() override;

  // Adds a serialised google.protobuf.FileDescriptorSet (v1::Plugin.descriptors). `plugin` is for messages.
  absl::Status Add(std::string_view plugin, std::string_view descriptors);

  // Null if unknown.
  const google::protobuf::Descriptor* Find(std::string_view full_name) const;
  // The message inside; NOT_FOUND if its type is unknown, DATA_LOSS if its bytes are not such a message.
  absl::StatusOr<std::unique_ptr<google::protobuf::Message>> Unpack(const google::protobuf::Any& any) const;
  // As protobuf text, Anys expanded, one field a line.
  std::string ToText(const google::protobuf::Message& message) const;

  // For TextFormat: finds the types in Anys.
  const google::protobuf::TextFormat::Finder* finder() const { return this; }
  const google::protobuf::DescriptorPool* pool() const { return &pool_; }

 private:
  const google::protobuf::Descriptor* FindAnyType(const google::protobuf::Message& message, const std::string& prefix,
                                                  const std::string& name) const override;

  google::protobuf::DescriptorPool pool_;
  mutable google::protobuf::DynamicMessageFactory factory_;
};

// "editd.plugins.trim.v1.TrimSpec" of "type.googleapis.com/editd.plugins.trim.v1.TrimSpec".
std::string_view TypeName(std::string_view type_url);

}  // namespace editd::client

#endif  // EDITD_CLIENT_PLUGIN_TYPES_H_
