// Job specs as they come over the wire: the request, a plugin's params read through its own descriptors, paths
// replaced, unknown fields found. Whatever comes in, canonical params must be a fixed point: read again, they are the
// same.
#include <cstdlib>
#include <memory>
#include <string>

#include "daemon/plugin_types.h"
#include "daemon/testing/fake_plugin.h"
#include "editd/v1/service.pb.h"

namespace {

absl::StatusOr<std::string> NameTree(const editd::v1::FileBinding& binding) { return "tree:" + binding.path(); }

absl::StatusOr<editd::v1::Dataset> FindDataset(const std::string& name) {
  if (name.size() > 3) return absl::NotFoundError("no dataset named \"" + name + "\"");
  editd::v1::Dataset dataset;
  dataset.set_name(name);
  dataset.set_field("text");
  dataset.set_content("asset:" + name);
  for (size_t i = 0; i < name.size(); ++i) dataset.add_entries()->set_name(name.substr(0, i));  // "": a file.
  return dataset;
}

const editd::daemon::PluginTypes& Types() {
  static const auto* const types = editd::daemon::PluginTypes::Make(editd::daemon::FakePlugin("make"))->release();
  return *types;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  editd::v1::SubmitRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  std::vector<std::string> findings;
  editd::daemon::FindUnknownFields(request.spec(), "", &findings);
  const std::vector<editd::v1::FileBinding> files(request.files().begin(), request.files().end());
  const auto canonical = Types().Canonical(request.spec().params(), files, NameTree, FindDataset);
  Types().Text(request.spec().params());
  if (!canonical.findings.empty() || !canonical.files.empty()) return 0;
  if (Types().Canonical(canonical.params, {}, NameTree, FindDataset).params.value() != canonical.params.value())
    std::abort();
  return 0;
}
