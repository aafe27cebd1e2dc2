// What a job makes: new tensors in a pack, files, exported files, attributes and a result, all in the staging folder.
//
// Nothing counts until Finish: it checks that all is complete, and fills in the reply. The pack is durable then;
// files are not: the daemon syncs them before it publishes. What is left in the staging folder after an error is the
// daemon's to sweep. Errors name the tensor or file. An error that is the
// content's fault (a NaN, a name twice, a tensor cut short, the plugin's own refusal) makes `refused` true: the daemon
// then says that the output was refused, not that the job broke.
//
// One thread at a time, as the contract with plugins says.
#ifndef EDITD_PLUGINS_HOST_OUTPUTS_H_
#define EDITD_PLUGINS_HOST_OUTPUTS_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "editd/plugin.h"
#include "editd/v1/worker.pb.h"
#include "plugins/host/inputs.h"
#include "storage/base/file.h"
#include "storage/base/pack_writer.h"
#include "storage/base/tree_hash.h"

namespace editd::host {

class Outputs {
 public:
  // `inputs` is not owned and must outlive this.
  Outputs(const Inputs* inputs, UniqueFd staging, bool require_finite, unsigned threads);
  ~Outputs();

  absl::Status BeginTensor(const edit_tensor* description);
  absl::Status WriteTensor(const void* data, size_t size);
  absl::Status ReuseTensor(std::string_view name, size_t model, size_t index);
  absl::Status AddFile(std::string_view name, std::string_view content);
  absl::Status ReuseFile(size_t model, size_t index);
  absl::Status SetAttribute(std::string_view key, std::string_view value);
  absl::Status BeginExport(std::string_view name);
  absl::Status WriteExport(std::string_view bytes);
  // An exported file that is complete, mapped.
  absl::StatusOr<std::string_view> ViewExport(std::string_view name);
  // A part of such a view is not needed soon. Does nothing for any other memory.
  void ReleaseView(const void* data, size_t size);
  absl::Status SetResult(std::string_view wire);
  absl::Status Refuse(std::string_view message);

  // `makes_version` and `result_type` as the plugin describes itself.
  absl::Status Finish(bool makes_version, std::string_view result_type, v1::RunReply* reply);

  bool refused() const { return !refusal_.ok(); }
  const absl::Status& refusal() const { return refusal_; }

 private:
  struct Export;

  absl::Status Check(std::string_view what, std::string_view name, bool is_file);
  absl::Status Refused(absl::Status status);     // Remembers the first refusal.
  absl::Status FromWriter(absl::Status status);  // The writer's status, told apart: the content's fault or the disk's.
  absl::Status NoTensorOpen();
  absl::StatusOr<UniqueFd> Create(const std::string& name);
  void CloseExport();
  absl::Status FinishTensors(v1::RunReply* reply);

  const Inputs* const inputs_;
  const UniqueFd staging_;
  const bool require_finite_;
  const unsigned threads_;

  std::unique_ptr<PackWriter> writer_;  // Made with the first new tensor.
  std::vector<v1::OutputTensor> tensors_;
  std::vector<size_t> new_tensors_;  // Places in tensors_, in the writer's order.
  std::string open_tensor_;          // The name, if one is being written.
  uint64_t missing_ = 0;             // Its bytes that have not come yet.
  std::unordered_set<std::string> tensor_names_;
  std::vector<v1::OutputFile> files_;
  std::unordered_set<std::string> file_names_;
  std::map<std::string, std::string> attributes_;
  std::vector<std::unique_ptr<Export>> exports_;
  std::optional<std::string> result_;
  absl::Status refusal_;
};

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_OUTPUTS_H_
