// Files: descriptors that close themselves, mappings, and whole reads and writes.
//
// Every path error names the path. Mappings are read-only and private to nobody: the page cache is shared by all
// processes. A mapped file must not shrink while it is mapped; the store's files never change once named.
#ifndef EDITD_STORAGE_BASE_FILE_H_
#define EDITD_STORAGE_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/status.h"

namespace editd {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~UniqueFd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1);

 private:
  int fd_ = -1;
};

// A read-only mapping of a whole file, or of a part of one.
class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  static absl::StatusOr<MappedFile> Open(const std::string& path);
  // Maps `size` bytes of `fd` from `offset` on, any alignment. The descriptor may be closed afterwards. `name` is for
  // messages. OUT_OF_RANGE if the file is shorter.
  static absl::StatusOr<MappedFile> Map(int fd, uint64_t offset, uint64_t size, std::string_view name);

  const char* data() const { return data_; }
  size_t size() const { return size_; }
  std::string_view view() const { return {data_, size_}; }
  // The pages wholly inside [data, data + size) leave this process's memory; a later read brings them back.
  static void Drop(const void* data, size_t size);

 private:
  void* base_ = nullptr;  // What mmap returned: data_ rounded down to a page.
  size_t mapped_ = 0;
  const char* data_ = nullptr;
  size_t size_ = 0;
};

absl::StatusOr<UniqueFd> OpenForRead(const std::string& path);
absl::StatusOr<uint64_t> FileSize(int fd, std::string_view name);
absl::StatusOr<std::string> ReadWholeFile(const std::string& path);

// Writes all of `data` at the descriptor's position; goes on after short writes and signals.
absl::Status WriteAll(int fd, std::string_view data, std::string_view name);
// The same at `offset`; the descriptor's position stays.
absl::Status WriteAt(int fd, std::string_view data, uint64_t offset, std::string_view name);
// Tells the kernel to begin writing these bytes to the disk, which a later SyncData then needs not wait for. Only a
// hint: what fails is told by SyncData. `size` 0: to the end of the file.
void BeginWriteback(int fd, uint64_t offset, uint64_t size);
absl::Status SyncData(int fd, std::string_view name);  // fdatasync
absl::Status SyncDirectory(const std::string& path);   // fsync of the folder: its entries are durable
// Writes `path` so that after a crash either the old or the new content is there: temporary name, sync, rename, sync.
absl::Status WriteFileAtomically(const std::string& path, std::string_view data, unsigned mode = 0644);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_FILE_H_
