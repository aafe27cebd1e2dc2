#include "daemon/publication.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <map>
#include <set>
#include <thread>

#include "storage/base/dtype.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::daemon {
namespace {

// A name that is one part of a path, and nothing clever.
absl::Status CheckPlainName(std::string_view name, std::string_view what) {
  if (name.empty() || name.size() > 255 || name[0] == '.' || name.find('/') != std::string_view::npos ||
      name.find('\0') != std::string_view::npos) {
    return absl::InvalidArgumentError(StrCat("the worker names ", what, " \"", name.substr(0, 80),
                                             "\"; a name has 1 to 255 bytes, no slash, and does not begin with a dot"));
  }
  return absl::OkStatus();
}

std::string TensorKey(std::string_view dtype, const google::protobuf::RepeatedField<int64_t>& shape,
                      std::string_view id) {
  std::string key = StrCat(dtype, " ", id);
  for (int64_t extent : shape) StrAppend(&key, " ", extent);
  return key;
}

absl::Status AddTensors(const v1::RunReply& reply, const JobInputs& inputs, v1::Version* version) {
  std::set<std::string> known;  // Tensors of the inputs.
  for (const v1::Version& input : inputs.versions) {
    for (const v1::Tensor& tensor : input.tensors())
      known.insert(TensorKey(tensor.dtype(), tensor.shape(), tensor.id()));
  }
  std::set<std::string_view> names;
  for (const v1::OutputTensor& made : reply.tensors()) {
    if (made.name().empty() || !names.insert(made.name()).second) {
      return absl::InvalidArgumentError(StrCat("the worker made two tensors named \"", made.name(), "\""));
    }
    if (!made.is_new() && !known.contains(TensorKey(made.dtype(), made.shape(), made.id()))) {
      return absl::InvalidArgumentError(
          StrCat("tensor \"", made.name(), "\" is said to be an input's, but no input has a tensor ", made.id()));
    }
    v1::Tensor* tensor = version->add_tensors();
    tensor->set_name(made.name());
    tensor->set_dtype(made.dtype());
    *tensor->mutable_shape() = made.shape();
    tensor->set_id(made.id());
    if (made.is_new()) {
      tensor->set_pack(reply.pack_id());
      tensor->set_offset(made.offset());
      tensor->set_size(made.size());
    }
  }
  if (version->tensors_size() == 0) return absl::InvalidArgumentError("the version that the worker made has no tensor");
  return absl::OkStatus();
}

absl::Status AddFiles(const v1::RunReply& reply, const JobInputs& inputs, const std::string& staging,
                      std::vector<storage::StagedFile>* files) {
  std::set<std::string> known;  // Assets of the inputs.
  for (const JobInputs::Source& source : inputs.sources) {
    if (!source.pack) known.insert(source.id.Hex());
  }
  std::set<std::pair<bool, std::string_view>> names;
  for (const v1::OutputFile& made : reply.files()) {
    RETURN_IF_ERROR(CheckPlainName(made.name(), "a file"));
    if (!names.insert({made.exported(), made.name()}).second) {
      return absl::InvalidArgumentError(StrCat("the worker made two files named \"", made.name(), "\""));
    }
    storage::StagedFile& file = files->emplace_back();
    file.name = made.name();
    file.exported = made.exported() || !reply.makes_version();
    if (made.file().empty()) {
      if (!known.contains(made.asset())) {
        return absl::InvalidArgumentError(
            StrCat("file \"", made.name(), "\" is said to be an input's, but no input has an asset ", made.asset()));
      }
      ASSIGN_OR_RETURN(file.asset, Id::FromHex(made.asset()));
    } else {
      RETURN_IF_ERROR(CheckPlainName(made.file(), "a staged file"));
      file.path = StrCat(staging, "/", made.file());
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<storage::PublishRequest> MakePublication(const v1::Job& job, const v1::RunReply& reply,
                                                        const JobInputs& inputs, const std::string& staging) {
  storage::PublishRequest request;
  RETURN_IF_ERROR(AddFiles(reply, inputs, staging, &request.files));
  request.makes_version = reply.makes_version();
  if (job.spec().output().ref().empty() == reply.makes_version()) {
    return absl::InvalidArgumentError(reply.makes_version() ? "the plugin made a version, but said that it makes none"
                                                            : "the plugin made no version, but said that it makes one");
  }
  if (!reply.makes_version()) return request;

  v1::Version& version = request.version;
  RETURN_IF_ERROR(AddTensors(reply, inputs, &version));
  *version.mutable_attributes() = reply.attributes();
  for (int i = 0; i < job.input_versions_size(); ++i) {
    v1::Parent* parent = version.add_parents();
    parent->set_version(job.input_versions(i));
    parent->set_role(job.spec().input(i).name());
  }
  v1::Recipe* recipe = version.mutable_recipe();
  recipe->set_id(job.recipe());
  recipe->set_plugin(job.spec().plugin());
  recipe->set_plugin_version(job.plugin_version());
  recipe->set_plugin_hash(job.plugin_hash());
  *recipe->mutable_params() = job.canonical_params();
  recipe->set_seed(job.spec().seed());
  version.set_user(job.user());
  version.set_job(job.id());

  if (!reply.pack_file().empty()) {
    RETURN_IF_ERROR(CheckPlainName(reply.pack_file(), "its pack"));
    request.pack_path = StrCat(staging, "/", reply.pack_file());
    ASSIGN_OR_RETURN(request.pack, Id::FromHex(reply.pack_id()));
  }
  request.ref = job.spec().output().ref();
  if (!job.output_ref_expected().empty()) {
    ASSIGN_OR_RETURN(request.ref_expected, Id::FromHex(job.output_ref_expected()));
  }
  return request;
}

absl::Status HashStagedFiles(std::vector<storage::StagedFile>* files) {
  for (storage::StagedFile& file : *files) {
    if (file.path.empty()) continue;
    const UniqueFd fd(::open(file.path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!fd.valid())
      return absl::InvalidArgumentError(StrCat("the worker did not leave \"", file.name, "\" in staging"));
    struct stat info;
    if (::fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
      return absl::InvalidArgumentError(StrCat("what the worker left as \"", file.name, "\" is no regular file"));
    }
    ASSIGN_OR_RETURN(file.asset, HashFile(ContentKind::Asset(), fd.get(), 0, static_cast<uint64_t>(info.st_size),
                                          std::thread::hardware_concurrency(), file.name));
    RETURN_IF_ERROR(SyncData(fd.get(), file.name));
  }
  return absl::OkStatus();
}

}  // namespace editd::daemon
