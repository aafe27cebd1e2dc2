// PluginTypes: a plugin's messages, read and written through the descriptors that the plugin itself brought along.
//
// The daemon links no plugin's message. From the FileDescriptorSet of a plugin it makes a pool, in which any params can
// be parsed, searched for paths and unknown fields, and written back.
//
// Immutable once made; its functions are thread-safe.
#ifndef EDITD_DAEMON_PLUGIN_TYPES_H_
#define EDITD_DAEMON_PLUGIN_TYPES_H_

#include <google/protobuf/any.pb.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/dynamic_message.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "editd/v1/dataset.pb.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/plugin.pb.h"
#include "storage/base/status.h"

namespace editd::daemon {

// The params of a job, brought into the form that is run and hashed.
struct CanonicalParams {
  google::protobuf::Any params;        // Each path replaced by "asset:<id>" or "tree:<id>"; serialised in one way only.
  std::vector<v1::FileBinding> files;  // Those that the params use, each once.
  std::vector<std::string> values;     // What stands in the params instead of files[i].path.
  std::vector<std::string> findings;   // "params.keep: there is no field number 9"; if any, the rest is not set.
};

// The one-line id of a folder's content ("tree:<id>"), from its entries.
using TreeNamer = std::function<absl::StatusOr<std::string>(const v1::FileBinding&)>;

// The dataset of a name; NOT_FOUND says which is near.
using DatasetFinder = std::function<absl::StatusOr<v1::Dataset>(const std::string& name)>;

class PluginTypes {
 public:
  // INVALID_ARGUMENT if the descriptors are not whole or do not have the plugin's types.
  static absl::StatusOr<std::unique_ptr<PluginTypes>> Make(const v1::Plugin& plugin);

  // A path is one of `bindings`, or "dataset:NAME".
  CanonicalParams Canonical(const google::protobuf::Any& params, const std::vector<v1::FileBinding>& bindings,
                            const TreeNamer& name_tree, const DatasetFinder& find_dataset) const;
  // The params as protobuf text; empty if they are not of the plugin's type.
  std::string Text(const google::protobuf::Any& params) const;

 private:
  PluginTypes() = default;

  google::protobuf::DescriptorPool pool_;
  mutable google::protobuf::DynamicMessageFactory factory_;  // Thread-safe.
  const google::protobuf::Descriptor* spec_ = nullptr;
};

// Appends to `findings` a line for each field of `message`, or of a message in it, that its type does not have. Any is
// not entered.
void FindUnknownFields(const google::protobuf::Message& message, const std::string& path,
                       std::vector<std::string>* findings);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_PLUGIN_TYPES_H_
