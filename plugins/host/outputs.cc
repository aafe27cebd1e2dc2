#include "plugins/host/outputs.h"

#include <fcntl.h>
#include <google/protobuf/any.pb.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <unordered_map>

#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::host {
namespace {

constexpr char kPackFile[] = "pack.safetensors";
constexpr size_t kMaxName = 255;  // Of a file, also on the client's disk.
constexpr size_t kMaxTensorName = 1024;
constexpr uint32_t kMaxRank = 16;
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxFiles = 100'000;
constexpr uint64_t kWritebackStep = 8 << 20;  // Bytes of an export after which the kernel is told to begin writing.

}  // namespace

// A file for the client to fetch.
struct Outputs::Export {
  std::string name;    // As the client will see it.
  std::string staged;  // In the staging folder.
  UniqueFd fd;
  bool complete = false;
  uint64_t size = 0;
  MappedFile view;
};

Outputs::Outputs(const Inputs* inputs, UniqueFd staging, bool require_finite, unsigned threads)
    : inputs_(inputs),
      staging_(std::move(staging)),
      require_finite_(require_finite),
      threads_(std::clamp(threads, 1u, 4u)) {}

Outputs::~Outputs() = default;

absl::Status Outputs::Refused(absl::Status status) {
  if (refusal_.ok()) refusal_ = status;
  return status;
}

absl::Status Outputs::Refuse(std::string_view message) {
  return Refused(absl::FailedPreconditionError(ToAbsl(ToValidUtf8(message))));
}

absl::Status Outputs::FromWriter(absl::Status status) {
  return !status.ok() && writer_ != nullptr && writer_->refused() ? Refused(std::move(status)) : status;
}

absl::Status Outputs::Check(std::string_view what, std::string_view name, bool is_file) {
  const auto refuse = [&](std::string_view why) {
    return Refused(absl::InvalidArgumentError(
        StrCat("the plugin gave a ", what, " the name \"", ToValidUtf8(name, 80), "\", which ", why)));
  };
  if (name.empty()) return refuse("is empty");
  if (name.size() > (is_file ? kMaxName : kMaxTensorName)) return refuse("is too long");
  if (!IsUtf8(name)) return refuse("is not UTF-8");
  if (std::any_of(name.begin(), name.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20 || c == 0x7f; })) {
    return refuse("has control characters");
  }
  if (is_file && (name.find('/') != std::string_view::npos || name == "." || name == "..")) {
    return refuse("is no plain file name");
  }
  return absl::OkStatus();
}

absl::Status Outputs::NoTensorOpen() {
  if (missing_ == 0) return absl::OkStatus();
  return Refused(
      absl::FailedPreconditionError(StrCat("tensor \"", open_tensor_, "\" lacks its last ", missing_, " bytes")));
}

absl::StatusOr<UniqueFd> Outputs::Create(const std::string& name) {
  UniqueFd fd(::openat(staging_.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("create ", name, " in the staging folder"));
  return fd;
}

absl::Status Outputs::BeginTensor(const edit_tensor* description) {
  RETURN_IF_ERROR(NoTensorOpen());
  if (description == nullptr || description->struct_size < sizeof(edit_tensor)) {
    return absl::InvalidArgumentError("output_tensor: struct_size is too small");
  }
  const std::string name(description->name.data, description->name.size);
  RETURN_IF_ERROR(Check("tensor", name, false));
  const std::string_view dtype_name(description->dtype.data, description->dtype.size);
  const auto dtype = DTypeFromName(dtype_name);
  if (!dtype.has_value()) {
    return Refused(absl::InvalidArgumentError(
        StrCat("tensor \"", name, "\": unknown element type \"", ToValidUtf8(dtype_name, 40), "\"")));
  }
  if (description->rank > kMaxRank) {
    return Refused(absl::InvalidArgumentError(StrCat("tensor \"", name, "\": has ", description->rank, " dimensions")));
  }
  const std::vector<int64_t> shape(description->shape, description->shape + description->rank);
  const auto bytes = TensorBytes(*dtype, shape);
  if (!bytes.ok()) return Refused(Annotate(bytes.status(), StrCat("tensor \"", name, "\"")));
  if (tensors_.size() >= kMaxTensors) return Refused(absl::InvalidArgumentError("more than a million tensors"));
  if (!tensor_names_.insert(name).second) {
    return Refused(absl::AlreadyExistsError(StrCat("tensor \"", name, "\" was made twice")));
  }
  if (writer_ == nullptr) {
    ASSIGN_OR_RETURN(UniqueFd file, Create(kPackFile));
    PackWriterOptions options;
    options.threads = threads_;
    options.require_finite = require_finite_;
    auto stored = std::make_shared<std::unordered_set<Id>>();
    for (const v1::InputModel& model : inputs_->message().models()) {
      options.expected_tensors = std::max<size_t>(options.expected_tensors, model.tensors_size());
      for (const v1::InputTensor& tensor : model.tensors()) {
        const auto id = Id::FromHex(tensor.id());
        if (id.ok()) stored->insert(*id);
      }
    }
    options.known = [stored](const Id& id) { return stored->contains(id); };
    ASSIGN_OR_RETURN(writer_, PackWriter::Create(std::move(file), kPackFile, std::move(options)));
  }
  RETURN_IF_ERROR(FromWriter(writer_->Begin(name, *dtype, shape)));
  v1::OutputTensor tensor;
  tensor.set_name(name);
  tensor.set_dtype(std::string(DTypeName(*dtype)));
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_size(*bytes);
  new_tensors_.push_back(tensors_.size());
  tensors_.push_back(std::move(tensor));
  open_tensor_ = name;
  missing_ = *bytes;
  return absl::OkStatus();
}

absl::Status Outputs::WriteTensor(const void* data, size_t size) {
  if (size > missing_) {
    return Refused(absl::OutOfRangeError(
        StrCat("tensor \"", open_tensor_, "\" got ", size - missing_, " bytes more than its shape has")));
  }
  RETURN_IF_ERROR(FromWriter(writer_ == nullptr ? absl::OkStatus() : writer_->Append(data, size)));
  missing_ -= size;
  return absl::OkStatus();
}

absl::Status Outputs::ReuseTensor(std::string_view name, size_t model, size_t index) {
  RETURN_IF_ERROR(NoTensorOpen());
  RETURN_IF_ERROR(Check("tensor", name, false));
  ASSIGN_OR_RETURN(const v1::InputTensor* source, inputs_->TensorAt(model, index));
  if (!tensor_names_.emplace(name).second) {
    return Refused(absl::AlreadyExistsError(StrCat("tensor \"", name, "\" was made twice")));
  }
  v1::OutputTensor tensor;
  tensor.set_name(std::string(name));
  tensor.set_dtype(source->dtype());
  *tensor.mutable_shape() = source->shape();
  tensor.set_id(source->id());
  tensor.set_size(source->size());
  tensors_.push_back(std::move(tensor));
  return absl::OkStatus();
}

absl::Status Outputs::AddFile(std::string_view name, std::string_view content) {
  RETURN_IF_ERROR(Check("file", name, true));
  if (!file_names_.emplace(name).second) {
    return Refused(absl::AlreadyExistsError(StrCat("file \"", name, "\" was made twice")));
  }
  if (files_.size() >= kMaxFiles) return Refused(absl::InvalidArgumentError(StrCat("more than ", kMaxFiles, " files")));
  v1::OutputFile file;
  file.set_name(std::string(name));
  file.set_file(StrCat("file.", files_.size()));
  file.set_size(content.size());
  file.set_asset(HashContent(ContentKind::Asset(), content, threads_).Hex());
  ASSIGN_OR_RETURN(UniqueFd fd, Create(file.file()));
  RETURN_IF_ERROR(WriteAll(fd.get(), content, name));
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Outputs::ReuseFile(size_t model, size_t index) {
  ASSIGN_OR_RETURN(const v1::InputFile* source, inputs_->FileAt(model, index));
  if (!file_names_.insert(source->name()).second) {
    return Refused(absl::AlreadyExistsError(StrCat("file \"", source->name(), "\" was made twice")));
  }
  v1::OutputFile file;
  file.set_name(source->name());
  file.set_asset(source->asset());
  file.set_size(source->size());
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Outputs::SetAttribute(std::string_view key, std::string_view value) {
  RETURN_IF_ERROR(Check("attribute", key, false));
  if (!IsUtf8(value) || value.size() > kMaxTensorName) {
    return Refused(absl::InvalidArgumentError(StrCat("attribute \"", key, "\" is too long or not UTF-8")));
  }
  attributes_[std::string(key)] = value;
  return absl::OkStatus();
}

absl::Status Outputs::BeginExport(std::string_view name) {
  CloseExport();
  RETURN_IF_ERROR(Check("file to export", name, true));
  for (const auto& other : exports_) {
    if (other->name == name) {
      return Refused(absl::AlreadyExistsError(StrCat("file \"", name, "\" was exported twice")));
    }
  }
  if (exports_.size() >= kMaxFiles)
    return Refused(absl::InvalidArgumentError(StrCat("more than ", kMaxFiles, " files")));
  auto file = std::make_unique<Export>();
  file->name = name;
  file->staged = StrCat("export.", exports_.size());
  ASSIGN_OR_RETURN(file->fd, Create(file->staged));
  exports_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Outputs::WriteExport(std::string_view bytes) {
  if (exports_.empty() || exports_.back()->complete) {
    return absl::FailedPreconditionError("export_write before export_file, or after the file was viewed");
  }
  Export& file = *exports_.back();
  RETURN_IF_ERROR(WriteAll(file.fd.get(), bytes, file.name));
  // So that the disk is busy meanwhile.
  if ((file.size + bytes.size()) / kWritebackStep != file.size / kWritebackStep) BeginWriteback(file.fd.get(), 0, 0);
  file.size += bytes.size();
  return absl::OkStatus();
}

void Outputs::CloseExport() {
  if (!exports_.empty()) exports_.back()->complete = true;
}

absl::StatusOr<std::string_view> Outputs::ViewExport(std::string_view name) {
  for (const auto& file : exports_) {
    if (file->name != name) continue;
    file->complete = true;
    if (file->view.data() == nullptr) {
      ASSIGN_OR_RETURN(file->view, MappedFile::Map(file->fd.get(), 0, file->size, name));
    }
    return file->view.view();
  }
  return absl::NotFoundError(StrCat("no file \"", name, "\" was exported"));
}

void Outputs::ReleaseView(const void* data, size_t size) {
  const char* begin = static_cast<const char*>(data);
  for (const auto& file : exports_) {
    const std::string_view all = file->view.view();
    if (begin < all.data() || begin > all.data() + all.size()) continue;
    if (size <= static_cast<size_t>(all.data() + all.size() - begin)) MappedFile::Drop(data, size);
    return;
  }
}

absl::Status Outputs::SetResult(std::string_view wire) {
  if (result_.has_value()) return Refused(absl::AlreadyExistsError("the plugin gave two results"));
  result_ = wire;
  return absl::OkStatus();
}

absl::Status Outputs::FinishTensors(v1::RunReply* reply) {
  RETURN_IF_ERROR(NoTensorOpen());
  if (writer_ != nullptr) {
    absl::StatusOr<WrittenPack> pack = writer_->Finish();
    RETURN_IF_ERROR(FromWriter(pack.status()));
    // A tensor that equals one made before lies where that one does.
    for (size_t i = 0; i < pack->tensors.size(); ++i) {
      v1::OutputTensor& tensor = tensors_[new_tensors_[i]];
      const WrittenTensor& written = pack->tensors[i];
      tensor.set_id(written.tensor.id.Hex());
      tensor.set_is_new(written.in_pack);
      tensor.set_offset(written.tensor.offset);
    }
    if (!pack->id.empty()) {
      reply->set_pack_file(kPackFile);
      reply->set_pack_size(pack->file_size);
      reply->set_pack_id(pack->id.Hex());
    }
    writer_.reset();
  }
  reply->mutable_tensors()->Add(tensors_.begin(), tensors_.end());
  return absl::OkStatus();
}

absl::Status Outputs::Finish(bool makes_version, std::string_view result_type, v1::RunReply* reply) {
  if (refused()) return refusal_;
  CloseExport();
  if (makes_version && tensors_.empty()) {
    return Refused(absl::FailedPreconditionError("the plugin should make a version, but made no tensor"));
  }
  if (!makes_version && !tensors_.empty()) {
    return Refused(absl::FailedPreconditionError("the plugin says that it makes no version, but made tensors"));
  }
  if (result_.has_value() && result_type.empty()) {
    return Refused(absl::FailedPreconditionError("the plugin says that it has no result, but gave one"));
  }
  RETURN_IF_ERROR(FinishTensors(reply));
  reply->mutable_files()->Add(files_.begin(), files_.end());
  for (const auto& file : exports_) {
    v1::OutputFile* out = reply->add_files();
    out->set_name(file->name);
    out->set_file(file->staged);
    out->set_size(file->size);  // The daemon hashes it: it would not take this process's word.
    out->set_exported(true);
  }
  for (const auto& [key, value] : attributes_) (*reply->mutable_attributes())[key] = value;
  if (result_.has_value()) {
    google::protobuf::Any any;
    any.set_type_url(StrCat("type.googleapis.com/", result_type));
    any.set_value(*result_);
    reply->set_result(any.SerializeAsString());
  }
  reply->set_makes_version(makes_version);
  return absl::OkStatus();
}

}  // namespace editd::host
