#include "storage/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "storage/base/strings.h"

namespace editd {

void UniqueFd::Reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this == &other) return *this;
  if (base_ != nullptr) ::munmap(base_, mapped_);
  base_ = std::exchange(other.base_, nullptr);
  mapped_ = std::exchange(other.mapped_, 0);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  return *this;
}

MappedFile::~MappedFile() {
  if (base_ != nullptr) ::munmap(base_, mapped_);
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenForRead(path));
  ASSIGN_OR_RETURN(uint64_t size, FileSize(fd.get(), path));
  return Map(fd.get(), 0, size, path);
}

absl::StatusOr<MappedFile> MappedFile::Map(int fd, uint64_t offset, uint64_t size, std::string_view name) {
  ASSIGN_OR_RETURN(uint64_t file_size, FileSize(fd, name));
  if (offset > file_size || size > file_size - offset) {
    return absl::OutOfRangeError(
        StrCat(name, ": bytes ", offset, " to ", offset + size, " are wanted, the file has ", file_size));
  }
  MappedFile file;
  if (size == 0) {
    file.data_ = "";
    return file;
  }
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t start = offset / page * page;
  file.mapped_ = size + (offset - start);
  void* base = ::mmap(nullptr, file.mapped_, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(start));
  if (base == MAP_FAILED) return ErrnoStatus(errno, StrCat("map ", name));
  file.base_ = base;
  file.data_ = static_cast<const char*>(base) + (offset - start);
  file.size_ = size;
  return file;
}

void MappedFile::Drop(const void* data, size_t size) {
  const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(data) + size) / page * page;
  if (last > first) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

absl::StatusOr<UniqueFd> OpenForRead(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  return fd;
}

absl::StatusOr<uint64_t> FileSize(int fd, std::string_view name) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, StrCat("stat ", name));
  return static_cast<uint64_t>(info.st_size);
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenForRead(path));
  std::string content;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", path));
    if (n == 0) return content;
    content.append(buffer, static_cast<size_t>(n));
  }
}

absl::Status WriteAll(int fd, std::string_view data, std::string_view name) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("write ", name));
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status WriteAt(int fd, std::string_view data, uint64_t offset, std::string_view name) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("write ", name));
    data.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

void BeginWriteback(int fd, uint64_t offset, uint64_t size) {
  ::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE);
}

absl::Status SyncData(int fd, std::string_view name) {
  if (::fdatasync(fd) != 0) return ErrnoStatus(errno, StrCat("sync ", name));
  return absl::OkStatus();
}

absl::Status SyncDirectory(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  if (::fsync(fd.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", path));
  return absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode) {
  const std::string temporary = StrCat(path, ".tmp.", ::getpid());
  UniqueFd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("create ", temporary));
  absl::Status status = WriteAll(fd.get(), data, temporary);
  if (status.ok()) status = SyncData(fd.get(), temporary);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = ErrnoStatus(errno, StrCat("rename ", temporary, " to ", path));
  }
  if (!status.ok()) {
    ::unlink(temporary.c_str());
    return status;
  }
  const size_t slash = path.rfind('/');
  return SyncDirectory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

}  // namespace editd
