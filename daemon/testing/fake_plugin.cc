#include "daemon/testing/fake_plugin.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/text_format.h>

#include <memory>

#include "editd/v1/job.pb.h"
#include "editd/v1/options.pb.h"

namespace editd::daemon {
namespace {

namespace pb = google::protobuf;

constexpr const char* kFile = R"(
  name: "fake.proto" package: "fake.v1" syntax: "proto3" dependency: "editd/v1/options.proto"
  message_type {
    name: "Spec"
    field { name: "script" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
    field { name: "path" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL
            options { [editd.v1.path_kind]: PATH_KIND_FILE_OR_DIRECTORY } }
    field { name: "part" number: 3 type: TYPE_MESSAGE type_name: ".fake.v1.Spec" label: LABEL_REPEATED }
  })";

const pb::FileDescriptorSet& Files() {
  static const auto* const files = [] {
    auto* set = new pb::FileDescriptorSet;
    pb::FileDescriptorProto::descriptor()->file()->CopyTo(set->add_file());
    v1::PathKind_descriptor()->file()->CopyTo(set->add_file());
    pb::TextFormat::ParseFromString(kFile, set->add_file());
    return set;
  }();
  return *files;
}

struct SpecType {
  pb::DescriptorPool pool;
  pb::DynamicMessageFactory factory;
  const pb::Message* prototype;
};
const SpecType& Type() {
  static const auto* const type = [] {
    auto* made = new SpecType;
    for (const pb::FileDescriptorProto& file : Files().file()) made->pool.BuildFile(file);
    made->prototype = made->factory.GetPrototype(made->pool.FindMessageTypeByName("fake.v1.Spec"));
    return made;
  }();
  return *type;
}

}  // namespace

v1::Plugin FakePlugin(const std::string& name) {
  v1::Plugin plugin;
  plugin.set_name(name);
  plugin.set_version("1.0");
  plugin.set_spec_type("fake.v1.Spec");
  plugin.set_descriptors(Files().SerializeAsString());
  plugin.set_makes_version(name.starts_with("make") || name.starts_with("join"));
  plugin.set_min_inputs(name.starts_with("join") ? 1 : 0);
  plugin.set_max_inputs(name.starts_with("join") ? 1 : 0);
  return plugin;
}

pb::Any FakeParams(std::string_view script, std::string_view path) {
  const std::unique_ptr<pb::Message> message(Type().prototype->New());
  const pb::Descriptor* const type = message->GetDescriptor();
  message->GetReflection()->SetString(message.get(), type->FindFieldByName("script"), std::string(script));
  message->GetReflection()->SetString(message.get(), type->FindFieldByName("path"), std::string(path));
  pb::Any params;
  params.set_type_url("type.googleapis.com/fake.v1.Spec");
  params.set_value(message->SerializeAsString());
  return params;
}

std::string ScriptOf(std::string_view spec) {
  const std::unique_ptr<pb::Message> message(Type().prototype->New());
  if (!message->ParseFromString(std::string(spec))) return "error the spec is broken";
  return message->GetReflection()->GetString(*message, message->GetDescriptor()->FindFieldByName("script"));
}

}  // namespace editd::daemon
