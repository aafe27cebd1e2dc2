#include "daemon/plugin_types.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>

#include "absl/strings/match.h"
#include "editd/v1/options.pb.h"
#include "storage/base/id.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

namespace pb = google::protobuf;

std::string Child(const std::string& path, std::string_view field) {
  return path.empty() ? std::string(field) : StrCat(path, ".", field);
}

// Calls `visit` for each message in `message`, itself included, with its path.
void Walk(const pb::Message& message, const std::string& path,
          const std::function<void(const pb::Message&, const std::string&)>& visit) {
  visit(message, path);
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      Walk(reflection.GetMessage(message, field), Child(path, field->name()), visit);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      const pb::Message& element = reflection.GetRepeatedMessage(message, field, i);
      Walk(element, StrCat(Child(path, field->name()), "[", i, "]"), visit);
    }
  }
}

constexpr std::string_view kDataset = "dataset:";

// The paths of a spec, replaced one after the other.
class PathReplacer {
 public:
  PathReplacer(const std::vector<v1::FileBinding>& bindings, const TreeNamer& name_tree,
               const DatasetFinder& find_dataset, CanonicalParams* out)
      : bindings_(bindings), name_tree_(name_tree), find_dataset_(find_dataset), out_(out) {}

  void Replace(pb::Message* message, const std::string& path) {
    const pb::Reflection& reflection = *message->GetReflection();
    std::vector<const pb::FieldDescriptor*> fields;
    reflection.ListFields(*message, &fields);
    for (const pb::FieldDescriptor* field : fields) {
      const std::string name = Child(path, field->name());
      const int count = field->is_repeated() ? reflection.FieldSize(*message, field) : 1;
      for (int i = 0; i < count; ++i) {
        const std::string element = field->is_repeated() ? StrCat(name, "[", i, "]") : name;
        if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE) {
          Replace(field->is_repeated() ? reflection.MutableRepeatedMessage(message, field, i)
                                       : reflection.MutableMessage(message, field),
                  element);
        } else if (field->cpp_type() == pb::FieldDescriptor::CPPTYPE_STRING &&
                   field->options().GetExtension(v1::path_kind) != v1::PATH_KIND_UNSPECIFIED) {
          const std::string value = field->is_repeated() ? reflection.GetRepeatedString(*message, field, i)
                                                         : reflection.GetString(*message, field);
          if (value.empty()) continue;
          const bool is_dataset = value.starts_with(kDataset);
          const std::string replaced =
              is_dataset ? DatasetContent(value, field->options().GetExtension(v1::path_kind), element)
                         : ContentOf(value, element);
          if (is_dataset) FillField(message, value);
          if (field->is_repeated()) {
            reflection.SetRepeatedString(message, field, i, replaced);
          } else {
            reflection.SetString(message, field, replaced);
          }
        }
      }
    }
  }

 private:
  // The content of "dataset:NAME"; on a problem adds a finding.
  std::string DatasetContent(const std::string& path, v1::PathKind kind, const std::string& field) {
    auto known = datasets_.find(path);
    if (known == datasets_.end()) {
      auto dataset = find_dataset_(path.substr(kDataset.size()));
      if (!dataset.ok()) {
        out_->findings.push_back(StrCat(field, ": ", dataset.status().message()));
        return path;
      }
      known = datasets_.emplace(path, *std::move(dataset)).first;
      v1::FileBinding binding;
      binding.set_path(path);
      *binding.mutable_entries() = known->second.entries();
      out_->files.push_back(std::move(binding));
      out_->values.push_back(known->second.content());
    }
    const v1::Dataset& dataset = known->second;
    const bool is_folder = dataset.entries_size() != 1 || !dataset.entries(0).name().empty();
    if (is_folder && kind != v1::PATH_KIND_FILE_OR_DIRECTORY) {
      out_->findings.push_back(StrCat(field, ": dataset \"", dataset.name(), "\" is a folder; a file is wanted"));
    }
    return dataset.content();
  }

  // A dataset knows which field of its lines holds the text, if the spec does not say.
  void FillField(pb::Message* message, const std::string& path) {
    const auto dataset = datasets_.find(path);
    if (dataset == datasets_.end() || dataset->second.field().empty()) return;
    const pb::Reflection& reflection = *message->GetReflection();
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const pb::FieldDescriptor* const field = message->GetDescriptor()->field(i);
      const bool takes_it = field->cpp_type() == pb::FieldDescriptor::CPPTYPE_STRING && !field->is_repeated() &&
                            field->options().GetExtension(v1::dataset_field);
      if (takes_it && reflection.GetString(*message, field).empty()) {
        reflection.SetString(message, field, dataset->second.field());
      }
    }
  }

  // What stands for `path` from now on; on a problem adds a finding.
  std::string ContentOf(const std::string& path, const std::string& field) {
    const auto known = values_.find(path);
    if (known != values_.end()) return known->second;
    for (const v1::FileBinding& binding : bindings_) {
      if (binding.path() != path) continue;
      std::string value;
      if (binding.entries_size() == 1 && binding.entries(0).name().empty()) {
        value = StrCat("asset:", binding.entries(0).asset());
      } else {
        auto tree = name_tree_(binding);
        if (!tree.ok()) {
          out_->findings.push_back(StrCat(field, ": ", tree.status().message()));
          return path;
        }
        value = *std::move(tree);
      }
      out_->files.push_back(binding);
      out_->values.push_back(value);
      values_[path] = value;
      return value;
    }
    out_->findings.push_back(StrCat(field, ": the content of \"", path,
                                    "\" was not sent along; submit with editctl, which opens the files of a spec"));
    return path;
  }

  const std::vector<v1::FileBinding>& bindings_;
  const TreeNamer& name_tree_;
  const DatasetFinder& find_dataset_;
  CanonicalParams* const out_;
  std::map<std::string, std::string> values_;
  std::map<std::string, v1::Dataset> datasets_;  // By path.
};

std::string SerializeInOneWay(const pb::Message& message) {
  std::string bytes;
  {
    pb::io::StringOutputStream stream(&bytes);
    pb::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace

void FindUnknownFields(const pb::Message& message, const std::string& path, std::vector<std::string>* findings) {
  Walk(message, path, [findings](const pb::Message& part, const std::string& where) {
    const pb::UnknownFieldSet& unknown = part.GetReflection()->GetUnknownFields(part);
    for (int i = 0; i < unknown.field_count(); ++i) {
      findings->push_back(StrCat(where.empty() ? std::string("spec") : where, ": ", part.GetDescriptor()->full_name(),
                                 " has no field number ", unknown.field(i).number(),
                                 "; was the spec written for another version?"));
    }
  });
}

absl::StatusOr<std::unique_ptr<PluginTypes>> PluginTypes::Make(const v1::Plugin& plugin) {
  auto types = std::unique_ptr<PluginTypes>(new PluginTypes());
  pb::FileDescriptorSet files;
  if (!files.ParseFromString(plugin.descriptors())) {
    return absl::InvalidArgumentError("its descriptors are no FileDescriptorSet");
  }
  for (const pb::FileDescriptorProto& file : files.file()) {
    if (types->pool_.FindFileByName(file.name()) != nullptr) continue;
    if (types->pool_.BuildFile(file) == nullptr) {
      return absl::InvalidArgumentError(StrCat("its descriptors do not fit together at ", file.name()));
    }
  }
  types->spec_ = types->pool_.FindMessageTypeByName(plugin.spec_type());
  if (types->spec_ == nullptr) {
    return absl::InvalidArgumentError(StrCat("its descriptors lack its spec type ", plugin.spec_type()));
  }
  return types;
}

CanonicalParams PluginTypes::Canonical(const pb::Any& params, const std::vector<v1::FileBinding>& bindings,
                                       const TreeNamer& name_tree, const DatasetFinder& find_dataset) const {
  CanonicalParams out;
  const std::string type = params.type_url().substr(params.type_url().rfind('/') + 1);
  if (!type.empty() && type != spec_->full_name()) {
    out.findings.push_back(StrCat("params: the plugin takes a ", spec_->full_name(), ", not a ", type,
                                  "; write params { [type.googleapis.com/", spec_->full_name(), "] { ... } }"));
    return out;
  }
  std::unique_ptr<pb::Message> message(factory_.GetPrototype(spec_)->New());
  if (!message->ParseFromString(params.value())) {
    out.findings.push_back(StrCat("params: the bytes are no ", spec_->full_name()));
    return out;
  }
  FindUnknownFields(*message, "params", &out.findings);
  if (!out.findings.empty()) return out;
  PathReplacer(bindings, name_tree, find_dataset, &out).Replace(message.get(), "params");
  if (!out.findings.empty()) return out;
  out.params.set_type_url(StrCat("type.googleapis.com/", spec_->full_name()));
  out.params.set_value(SerializeInOneWay(*message));
  return out;
}

std::string PluginTypes::Text(const pb::Any& params) const {
  std::unique_ptr<pb::Message> message(factory_.GetPrototype(spec_)->New());
  std::string text;
  if (message->ParseFromString(params.value())) pb::TextFormat::PrintToString(*message, &text);
  return text;
}

}  // namespace editd::daemon
