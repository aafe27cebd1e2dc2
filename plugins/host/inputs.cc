#include "plugins/host/inputs.h"

#include "storage/base/dtype.h"
#include "storage/base/pack.h"
#include "storage/base/strings.h"

namespace editd::host {
namespace {

edit_string Of(const std::string& s) { return {s.data(), s.size()}; }

// Fills `out` no further than its own struct_size says.
template <typename T>
absl::Status Give(const T& value, T* out) {
  if (out == nullptr || out->struct_size < sizeof(uint32_t)) {
    return absl::InvalidArgumentError("struct_size is not set");
  }
  const uint32_t size = std::min<uint32_t>(out->struct_size, sizeof(T));
  std::memcpy(out, &value, size);
  out->struct_size = size;
  return absl::OkStatus();
}

absl::Status NoSuch(std::string_view what, size_t index, size_t count) {
  return absl::InvalidArgumentError(StrCat("there is no ", what, " ", index, "; there are ", count));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Inputs>> Inputs::Create(const v1::JobInput& input, std::vector<UniqueFd> descriptors,
                                                       bool with_data) {
  std::unique_ptr<Inputs> inputs(new Inputs(input, with_data));
  for (UniqueFd& fd : descriptors) inputs->sources_.push_back({std::move(fd), MappedFile(), false});
  RETURN_IF_ERROR(inputs->Check());
  for (const v1::InputModel& model : input.models()) {
    auto& list = inputs->attributes_.emplace_back();
    for (const auto& [key, value] : model.attributes()) list.emplace_back(&key, &value);
  }
  return inputs;
}

absl::Status Inputs::Check() const {
  const auto known = [this](uint32_t fd, const std::string& name) {
    if (!with_data_ || fd < sources_.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat(name, ": descriptor ", fd, " is named, ", sources_.size(), " came"));
  };
  for (const v1::InputModel& model : input_.models()) {
    for (const v1::InputTensor& tensor : model.tensors()) {
      const auto dtype = DTypeFromName(tensor.dtype());
      if (!dtype.has_value()) {
        return absl::InvalidArgumentError(StrCat(tensor.name(), ": unknown element type \"", tensor.dtype(), "\""));
      }
      auto bytes = TensorBytes(*dtype, {tensor.shape().begin(), tensor.shape().end()});
      if (!bytes.ok()) return Annotate(bytes.status(), tensor.name());
      if (*bytes != tensor.size()) {
        return absl::InvalidArgumentError(
            StrCat(tensor.name(), ": its shape has ", *bytes, " bytes, its entry says ", tensor.size()));
      }
      RETURN_IF_ERROR(known(tensor.fd(), tensor.name()));
    }
    for (const v1::InputFile& file : model.files()) RETURN_IF_ERROR(known(file.fd(), file.name()));
  }
  for (const v1::InputFile& file : input_.files()) RETURN_IF_ERROR(known(file.fd(), file.path()));
  return absl::OkStatus();
}

absl::StatusOr<const char*> Inputs::Data(uint32_t fd, uint64_t offset, uint64_t size, const std::string& name) {
  if (!with_data_) return nullptr;
  std::lock_guard<std::mutex> lock(mutex_);
  Source& source = sources_[fd];
  if (!source.mapped) {
    ASSIGN_OR_RETURN(const uint64_t file_size, FileSize(source.fd.get(), name));
    ASSIGN_OR_RETURN(source.mapping, MappedFile::Map(source.fd.get(), 0, file_size, name));
    source.mapped = true;
    source.fd.Reset();
  }
  if (offset > source.mapping.size() || size > source.mapping.size() - offset) {
    return absl::OutOfRangeError(
        StrCat(name, ": ", size, " bytes at ", offset, " are beyond the end of its file, ", source.mapping.size()));
  }
  return source.mapping.data() + offset;
}

absl::StatusOr<const v1::InputTensor*> Inputs::TensorAt(size_t model, size_t index) const {
  if (model >= static_cast<size_t>(input_.models_size())) return NoSuch("input", model, input_.models_size());
  const v1::InputModel& m = input_.models(static_cast<int>(model));
  if (index >= static_cast<size_t>(m.tensors_size())) return NoSuch("tensor", index, m.tensors_size());
  return &m.tensors(static_cast<int>(index));
}

absl::StatusOr<const v1::InputFile*> Inputs::FileAt(size_t model, size_t index) const {
  if (model >= static_cast<size_t>(input_.models_size())) return NoSuch("input", model, input_.models_size());
  const v1::InputModel& m = input_.models(static_cast<int>(model));
  if (index >= static_cast<size_t>(m.files_size())) return NoSuch("file", index, m.files_size());
  return &m.files(static_cast<int>(index));
}

absl::Status Inputs::Model(size_t model, edit_input* out) const {
  if (model >= static_cast<size_t>(input_.models_size())) return NoSuch("input", model, input_.models_size());
  const v1::InputModel& m = input_.models(static_cast<int>(model));
  const edit_input value = {sizeof(edit_input),
                            0,
                            Of(m.role()),
                            Of(m.name()),
                            Of(m.version()),
                            static_cast<size_t>(m.tensors_size()),
                            static_cast<size_t>(m.files_size()),
                            attributes_[model].size()};
  return Give(value, out);
}

absl::Status Inputs::Tensor(size_t model, size_t index, edit_tensor* out) {
  ASSIGN_OR_RETURN(const v1::InputTensor* tensor, TensorAt(model, index));
  ASSIGN_OR_RETURN(const char* data, Data(tensor->fd(), tensor->offset(), tensor->size(), tensor->name()));
  if (reinterpret_cast<uintptr_t>(data) % kPackTensorAlignment != 0) {
    return absl::InvalidArgumentError(StrCat(tensor->name(), ": begins at byte ", tensor->offset(),
                                             " of its pack, which is not a multiple of ", kPackTensorAlignment));
  }
  static_assert(sizeof(int64_t) == sizeof(*tensor->shape().data()));
  const edit_tensor value = {sizeof(edit_tensor),
                             static_cast<uint32_t>(tensor->shape_size()),
                             Of(tensor->name()),
                             Of(tensor->dtype()),
                             reinterpret_cast<const int64_t*>(tensor->shape().data()),
                             data,
                             tensor->size()};
  return Give(value, out);
}

absl::Status Inputs::Fill(const v1::InputFile& file, edit_file* out) {
  ASSIGN_OR_RETURN(const char* data, Data(file.fd(), 0, file.size(), file.name().empty() ? file.path() : file.name()));
  const edit_file value = {sizeof(edit_file), 0, Of(file.value()), Of(file.path()), Of(file.name()), data, file.size()};
  return Give(value, out);
}

absl::Status Inputs::ModelFile(size_t model, size_t index, edit_file* out) {
  ASSIGN_OR_RETURN(const v1::InputFile* file, FileAt(model, index));
  return Fill(*file, out);
}

absl::Status Inputs::SpecFile(size_t index, edit_file* out) {
  if (index >= static_cast<size_t>(input_.files_size())) return NoSuch("file", index, input_.files_size());
  return Fill(input_.files(static_cast<int>(index)), out);
}

absl::Status Inputs::Attribute(size_t model, size_t index, edit_string* key, edit_string* value) const {
  if (model >= attributes_.size()) return NoSuch("input", model, attributes_.size());
  if (index >= attributes_[model].size()) return NoSuch("attribute", index, attributes_[model].size());
  *key = Of(*attributes_[model][index].first);
  *value = Of(*attributes_[model][index].second);
  return absl::OkStatus();
}

void Inputs::Release(const void* data, size_t size) {
  const char* begin = static_cast<const char*>(data);
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Source& source : sources_) {
    const std::string_view all = source.mapping.view();
    if (!source.mapped || begin < all.data() || begin > all.data() + all.size()) continue;
    if (size <= static_cast<size_t>(all.data() + all.size() - begin)) MappedFile::Drop(data, size);
    return;
  }
}

}  // namespace editd::host
