#include "client/fetch.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

absl::Status FetchFile(const v1::FileEntry& file, const std::string& folder, Transfer* transfer) {
  // The names come from a plugin by way of the daemon: none may lead out of the folder.
  if (file.name().empty() || file.name().find('/') != std::string::npos || file.name() == "." || file.name() == ".." ||
      file.name().find('\0') != std::string::npos) {
    return absl::DataLossError(StrCat("the job exported a file with the name \"", file.name(), "\", which is refused"));
  }
  ASSIGN_OR_RETURN(const UniqueFd from, transfer->GetAsset(file.asset()));
  const std::string path = StrCat(folder, "/", file.name());
  const std::string temporary = StrCat(folder, "/.", file.name(), ".tmp.", ::getpid());
  const UniqueFd to(::open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!to.valid()) return ErrnoStatus(errno, StrCat("create ", temporary));
  absl::Status status = CopyContent(from.get(), to.get(), file.size(), path);
  if (status.ok()) status = SyncData(to.get(), path);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0)
    status = ErrnoStatus(errno, StrCat("rename to ", path));
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

}  // namespace

absl::Status CopyContent(int from, int to, uint64_t size, const std::string& name) {
  ASSIGN_OR_RETURN(const uint64_t actual, FileSize(from, name));
  if (actual != size) return absl::DataLossError(StrCat(name, ": has ", actual, " bytes in the store, not ", size));
  if (::ioctl(to, FICLONE, from) == 0) return absl::OkStatus();
  off_t offset = 0;
  while (static_cast<uint64_t>(offset) < size) {
    const ssize_t n = ::copy_file_range(from, &offset, to, nullptr, size - static_cast<uint64_t>(offset), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;  // Another file system, or a kernel that can't.
  }
  std::vector<char> buffer(1 << 20);
  while (static_cast<uint64_t>(offset) < size) {
    const ssize_t n = ::pread(from, buffer.data(), buffer.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", name));
    if (n == 0) return absl::DataLossError(StrCat(name, ": ends early"));
    RETURN_IF_ERROR(WriteAll(to, {buffer.data(), static_cast<size_t>(n)}, name));
    offset += n;
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> FetchFiles(const v1::Job& job, const std::string& folder, Transfer* transfer) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoStatus(error.value(), StrCat("make ", folder));
  uint64_t bytes = 0;
  for (const v1::FileEntry& file : job.exported()) {
    RETURN_IF_ERROR(FetchFile(file, folder, transfer));
    bytes += file.size();
  }
  RETURN_IF_ERROR(SyncDirectory(folder));
  return bytes;
}

}  // namespace editd::client
