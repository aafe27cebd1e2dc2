#include "client/spec_paths.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>

#include "storage/base/strings.h"

namespace editd::client {
namespace {

namespace pb = ::google::protobuf;

constexpr size_t kFolderLimit = 10'000;

void Walk(const pb::Message& message, const PluginTypes& types, const std::string& path, std::vector<PathUse>* uses) {
  if (message.GetDescriptor() == pb::Any::descriptor()) {
    const auto inner = types.Unpack(static_cast<const pb::Any&>(message));
    if (inner.ok()) Walk(**inner, types, path, uses);
    return;
  }
  const pb::Reflection& reflection = *message.GetReflection();
  std::vector<const pb::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const pb::FieldDescriptor* field : fields) {
    const v1::PathKind kind = field->options().GetExtension(v1::path_kind);
    const bool is_path = field->cpp_type() == pb::FieldDescriptor::CPPTYPE_STRING && kind != v1::PATH_KIND_UNSPECIFIED;
    const bool is_message = field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE;
    if (!is_path && !is_message) continue;
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      const std::string here =
          field->is_repeated() ? StrCat(path, ".", field->name(), "[", i, "]") : StrCat(path, ".", field->name());
      if (is_message) {
        Walk(field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                  : reflection.GetMessage(message, field),
             types, here, uses);
        continue;
      }
      const std::string value =
          field->is_repeated() ? reflection.GetRepeatedString(message, field, i) : reflection.GetString(message, field);
      if (!value.empty()) uses->push_back({here, value, kind});
    }
  }
}

// A file that is open and waits to be sent.
struct OpenFile {
  std::string name;  // Within its folder; empty if the path is a file.
  UniqueFd fd;
  uint64_t size = 0;
};

absl::Status OpenRegular(int folder, const std::string& path, OpenFile* file) {
  // A FIFO would block a plain open.
  file->fd.Reset(::openat(folder, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file->fd.valid()) return ErrnoStatus(errno, "can't be opened");
  struct stat info;
  if (::fstat(file->fd.get(), &info) != 0) return ErrnoStatus(errno, "can't be read");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("is no regular file");
  file->size = static_cast<uint64_t>(info.st_size);
  return absl::OkStatus();
}

absl::Status OpenFolder(int fd, std::vector<OpenFile>* files) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(::fcntl(fd, F_DUPFD_CLOEXEC, 0)), ::closedir);
  if (folder == nullptr) return ErrnoStatus(errno, "can't be listed");
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(folder.get())) {
    struct stat info;
    if (::fstatat(fd, entry->d_name, &info, 0) == 0 && S_ISREG(info.st_mode)) names.emplace_back(entry->d_name);
    if (names.size() > kFolderLimit) {
      return absl::InvalidArgumentError(StrCat("is a folder of more than ", kFolderLimit, " files"));
    }
  }
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    OpenFile file;
    file.name = name;
    const absl::Status status = OpenRegular(fd, name, &file);
    if (!status.ok()) return Annotate(status, name);
    files->push_back(std::move(file));
  }
  if (files->empty()) return absl::InvalidArgumentError("is a folder without a file");
  return absl::OkStatus();
}

absl::Status OpenPath(const std::string& path, v1::PathKind kind, std::vector<OpenFile>* files) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "can't be opened");
  if (!S_ISDIR(info.st_mode)) {
    files->emplace_back();
    return OpenRegular(AT_FDCWD, path, &files->back());
  }
  if (kind != v1::PATH_KIND_FILE_OR_DIRECTORY) return absl::InvalidArgumentError("is a folder; a file is wanted");
  const UniqueFd folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return ErrnoStatus(errno, "can't be opened");
  return OpenFolder(folder.get(), files);
}

}  // namespace

absl::StatusOr<std::vector<PathUse>> FindPathUses(const v1::JobSpec& spec, const PluginTypes& types) {
  std::vector<PathUse> uses;
  if (!spec.has_params() || spec.params().type_url().empty()) return uses;
  ASSIGN_OR_RETURN(const std::unique_ptr<pb::Message> params, types.Unpack(spec.params()));
  Walk(*params, types, "params", &uses);
  return uses;
}

absl::StatusOr<std::vector<v1::FileBinding>> PutFiles(
    const std::vector<PathUse>& uses, const std::string& folder, Transfer* transfer,
    const std::function<void(const std::string& path, uint64_t size)>& on_file) {
  std::vector<std::pair<std::string, std::vector<OpenFile>>> opened;
  std::map<std::string, v1::PathKind> seen;
  std::string findings;
  for (const PathUse& use : uses) {
    if (use.path.starts_with(kDatasetPrefix)) continue;  // The daemon knows it.
    const auto [known, is_new] = seen.emplace(use.path, use.kind);
    if (!is_new && known->second == use.kind) continue;
    std::vector<OpenFile> files;
    const std::string path = use.path.starts_with('/') || folder.empty() ? use.path : StrCat(folder, "/", use.path);
    const absl::Status status = OpenPath(path, use.kind, &files);
    if (!status.ok()) {
      StrAppend(&findings, findings.empty() ? "" : "\n", use.field, ": \"", path, "\" ", status.message());
    } else if (is_new) {
      opened.emplace_back(use.path, std::move(files));
    }
  }
  if (!findings.empty()) return absl::InvalidArgumentError(findings);

  std::vector<v1::FileBinding> bindings;
  for (auto& [path, files] : opened) {
    v1::FileBinding binding;
    binding.set_path(path);
    for (OpenFile& file : files) {
      const std::string name = file.name.empty() ? path : StrCat(path, "/", file.name);
      on_file(name, file.size);
      const auto entry = transfer->PutAsset(file.fd.get(), name);
      if (!entry.ok()) return Annotate(entry.status(), name);
      file.fd.Reset();
      *binding.add_entries() = *entry;
      binding.mutable_entries()->rbegin()->set_name(file.name);
    }
    bindings.push_back(std::move(binding));
  }
  return bindings;
}

}  // namespace editd::client
