#include "daemon/job_input.h"

#include <map>

#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

// Numbers sources as they come, each once.
class SourceTable {
 public:
  SourceTable(std::vector<JobInputs::Source>* sources, uint32_t first) : sources_(sources), first_(first) {}

  absl::StatusOr<uint32_t> Number(bool pack, const std::string& hex) {
    const auto [entry, is_new] = numbers_.emplace(std::make_pair(pack, hex), first_ + sources_->size());
    if (is_new) {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(hex));
      sources_->push_back({pack, id});
    }
    return entry->second;
  }

 private:
  std::vector<JobInputs::Source>* const sources_;
  const uint32_t first_;
  std::map<std::pair<bool, std::string>, uint32_t> numbers_;
};

absl::Status AddModel(const v1::Input& input, const v1::Version& version, SourceTable* table, v1::InputModel* model) {
  model->set_role(input.name());
  model->set_name(input.model());
  model->set_version(version.id());
  *model->mutable_attributes() = version.attributes();
  for (const v1::Tensor& tensor : version.tensors()) {
    v1::InputTensor* out = model->add_tensors();
    out->set_name(tensor.name());
    out->set_dtype(tensor.dtype());
    *out->mutable_shape() = tensor.shape();
    out->set_id(tensor.id());
    out->set_offset(tensor.offset());
    out->set_size(tensor.size());
    ASSIGN_OR_RETURN(const uint32_t fd, table->Number(true, tensor.pack()));
    out->set_fd(fd);
  }
  for (const v1::FileEntry& file : version.files()) {
    v1::InputFile* out = model->add_files();
    out->set_name(file.name());
    out->set_asset(file.asset());
    out->set_size(file.size());
    ASSIGN_OR_RETURN(const uint32_t fd, table->Number(false, file.asset()));
    out->set_fd(fd);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ContentName(const v1::FileBinding& binding) {
  if (binding.entries_size() == 1 && binding.entries(0).name().empty()) {
    return StrCat("asset:", binding.entries(0).asset());
  }
  ASSIGN_OR_RETURN(const Id tree, storage::Store::TreeId({binding.entries().begin(), binding.entries().end()}));
  return StrCat("tree:", tree.Hex());
}

absl::StatusOr<JobInputs> DescribeInputs(const v1::Job& job, const storage::Store& store, uint32_t first_fd) {
  JobInputs inputs;
  SourceTable table(&inputs.sources, first_fd);
  inputs.message.set_job(job.id());
  inputs.message.set_attempt(static_cast<uint32_t>(job.attempts_size()));
  inputs.message.set_spec(job.canonical_params().value());
  inputs.message.set_seed(job.spec().seed());
  inputs.message.set_threads(job.spec().limits().threads());
  for (int i = 0; i < job.input_versions_size(); ++i) {
    ASSIGN_OR_RETURN(const Id id, Id::FromHex(job.input_versions(i)));
    ASSIGN_OR_RETURN(v1::Version version, store.ReadVersion(id, true));
    RETURN_IF_ERROR(AddModel(job.spec().input(i), version, &table, inputs.message.add_models()));
    inputs.versions.push_back(std::move(version));
  }
  for (const v1::FileBinding& binding : job.files()) {
    ASSIGN_OR_RETURN(const std::string value, ContentName(binding));
    for (const v1::FileEntry& entry : binding.entries()) {
      v1::InputFile* file = inputs.message.add_files();
      file->set_value(value);
      file->set_path(binding.path());
      file->set_name(entry.name());
      file->set_asset(entry.asset());
      file->set_size(entry.size());
      ASSIGN_OR_RETURN(const uint32_t fd, table.Number(false, entry.asset()));
      file->set_fd(fd);
    }
  }
  return inputs;
}

absl::StatusOr<std::vector<UniqueFd>> OpenSources(const JobInputs& inputs, const storage::Store& store) {
  std::vector<UniqueFd> fds;
  for (const JobInputs::Source& source : inputs.sources) {
    ASSIGN_OR_RETURN(UniqueFd fd, source.pack ? store.OpenPack(source.id) : store.OpenAsset(source.id));
    fds.push_back(std::move(fd));
  }
  return fds;
}

}  // namespace editd::daemon
