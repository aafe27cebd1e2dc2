#include "storage/layout.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "storage/base/strings.h"

namespace editd::storage {
namespace {

constexpr std::string_view kFormat = "editd store 2\n";
constexpr std::string_view kOlderFormat = "editd store 1\n";  // Without the index of measurements.
constexpr std::string_view kPackSuffix = ".safetensors";

absl::Status MakeFolder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return ErrnoStatus(errno, StrCat("make folder ", path));
}

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

absl::StatusOr<UniqueFd> TakeLock(const std::string& directory) {
  const std::string path = directory + "/lock";
  UniqueFd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, StrCat("lock ", path));
    char pid[32] = "";
    const ssize_t n = ::pread(lock.get(), pid, sizeof(pid) - 1, 0);
    std::string_view holder(pid, n > 0 ? static_cast<size_t>(n) : 0);
    holder = holder.substr(0, holder.find('\n'));
    return absl::ResourceExhaustedError(StrCat("state directory ", directory, " is in use by another daemon, pid ",
                                               holder.empty() ? "unknown" : holder,
                                               "; stop it first, or name another directory"));
  }
  const std::string pid = StrCat(::getpid(), "\n");
  if (::ftruncate(lock.get(), 0) != 0) return ErrnoStatus(errno, StrCat("truncate ", path));
  RETURN_IF_ERROR(WriteAll(lock.get(), pid, path));
  return lock;
}

// True if the store is of the older format.
absl::StatusOr<bool> CheckFormat(const std::string& directory) {
  absl::StatusOr<std::string> format = ReadWholeFile(directory + "/format");
  if (absl::IsNotFound(format.status())) return false;  // A new store.
  RETURN_IF_ERROR(format.status());
  if (*format != kFormat && *format != kOlderFormat) {
    const std::string_view found = std::string_view(*format).substr(0, std::min<size_t>(format->find('\n'), 60));
    return absl::FailedPreconditionError(StrCat("incompatible store format: ", directory, " holds \"", found,
                                                "\", this editd reads \"", kFormat.substr(0, kFormat.size() - 1),
                                                "\"; use the editd that made it, or another directory"));
  }
  if (::access((directory + "/db/CURRENT").c_str(), F_OK) == 0) return *format == kOlderFormat;
  return absl::DataLossError(
      StrCat("the catalogue ", directory, "/db is missing, but the store was in use; restore it from a backup"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Layout>> Layout::Open(const std::string& directory) {
  std::error_code error;
  const std::string absolute = std::filesystem::absolute(directory, error).lexically_normal();
  if (error) return ErrnoStatus(error.value(), StrCat("state directory ", directory));
  const std::string path =
      absolute.size() > 1 && absolute.back() == '/' ? absolute.substr(0, absolute.size() - 1) : absolute;
  if (path.find('/', 1) != std::string::npos) std::filesystem::create_directories(FolderOf(path), error);
  RETURN_IF_ERROR(MakeFolder(path));
  ASSIGN_OR_RETURN(UniqueFd lock, TakeLock(path));
  ASSIGN_OR_RETURN(const bool older_format, CheckFormat(path));
  for (const char* name : {"packs", "assets", "staging", "incoming", "checkpoints"})
    RETURN_IF_ERROR(MakeFolder(StrCat(path, "/", name)));
  RETURN_IF_ERROR(SyncDirectory(path));
  return std::unique_ptr<Layout>(new Layout(path, std::move(lock), older_format));
}

std::string Layout::PackPath(const Id& id) const {
  const std::string hex = id.Hex();
  return StrCat(directory_, "/packs/", hex.substr(0, 2), "/", hex, kPackSuffix);
}

std::string Layout::AssetPath(const Id& id) const {
  const std::string hex = id.Hex();
  return StrCat(directory_, "/assets/", hex.substr(0, 2), "/", hex);
}

std::string Layout::StagingPath(uint64_t job, uint32_t attempt) const {
  return StrCat(directory_, "/staging/", job, ".", attempt);
}

std::string Layout::CheckpointPath(uint64_t job) const { return StrCat(directory_, "/checkpoints/", job); }

std::string Layout::NewIncomingPath() { return StrCat(directory_, "/incoming/", next_incoming_++); }

absl::Status Layout::MarkComplete() const {
  const std::string path = directory_ + "/format";
  if (!older_format_ && ::access(path.c_str(), F_OK) == 0) return absl::OkStatus();
  return WriteFileAtomically(path, kFormat, 0600);
}

absl::Status Layout::KeepCheckpoint(uint64_t job, uint32_t attempt) const {
  const std::string from = StrCat(StagingPath(job, attempt), "/checkpoint");
  struct stat info;
  // A plugin may leave anything there; only a file of its own counts.
  if (::lstat(from.c_str(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_nlink != 1) return absl::OkStatus();
  const std::string to = CheckpointPath(job);
  return ::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus()
                                                 : ErrnoStatus(errno, StrCat("rename ", from, " to ", to));
}

absl::Status Layout::ForEachCheckpoint(const std::function<void(uint64_t job, uint64_t bytes)>& file) const {
  const std::string folder = StrCat(directory_, "/checkpoints");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    struct stat info;
    uint64_t job = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &job)) continue;
    if (::lstat(entry.path().c_str(), &info) == 0) file(job, static_cast<uint64_t>(info.st_size));
  }
  return error ? ErrnoStatus(error.value(), StrCat("list ", folder)) : absl::OkStatus();
}

absl::Status Layout::SweepTemporary() const {
  std::error_code listing;
  // An attempt that ran when the daemon was killed: "<job>.<attempt>". Later attempts go last.
  std::set<std::pair<uint64_t, uint32_t>> attempts;
  for (const auto& entry : std::filesystem::directory_iterator(StrCat(directory_, "/staging"), listing)) {
    const std::string name = entry.path().filename().string();
    const std::pair<std::string, std::string> parts = absl::StrSplit(name, absl::MaxSplits('.', 1));
    uint64_t job = 0;
    uint32_t attempt = 0;
    if (absl::SimpleAtoi(parts.first, &job) && absl::SimpleAtoi(parts.second, &attempt)) attempts.emplace(job, attempt);
  }
  for (const auto& [job, attempt] : attempts) RETURN_IF_ERROR(KeepCheckpoint(job, attempt));
  for (const char* name : {"staging", "incoming"}) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(StrCat(directory_, "/", name), error)) {
      std::error_code removal;
      std::filesystem::remove_all(entry.path(), removal);
      if (removal) return ErrnoStatus(removal.value(), StrCat("remove ", entry.path().string()));
    }
    if (error) return ErrnoStatus(error.value(), StrCat("list ", directory_, "/", name));
  }
  return absl::OkStatus();
}

absl::Status Layout::ForEachFile(const FileFunction& file) const {
  for (const bool pack : {true, false}) {
    const std::string top = StrCat(directory_, pack ? "/packs" : "/assets");
    std::error_code error;
    std::filesystem::recursive_directory_iterator entry(top, error), end;
    for (; !error && entry != end; entry.increment(error)) {
      struct stat info;
      const std::string path = entry->path().string();
      if (::lstat(path.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
      std::string name = entry->path().filename().string();
      if (pack && name.ends_with(kPackSuffix)) name.resize(name.size() - kPackSuffix.size());
      const absl::StatusOr<Id> id = Id::FromHex(name);
      const bool in_place = id.ok() && path == (pack ? PackPath(*id) : AssetPath(*id));
      RETURN_IF_ERROR(file(pack, in_place ? *id : Id{}, path, static_cast<uint64_t>(info.st_size), info.st_mtime));
    }
    if (error) return ErrnoStatus(error.value(), StrCat("list ", top));
  }
  return absl::OkStatus();
}

Moves::~Moves() {
  for (const Moved& moved : moved_) {
    if (moved.undo) ::unlink(moved.path.c_str());
  }
}

absl::Status Moves::Move(UniqueFd fd, const std::string& from, const std::string& to, bool undo) {
  const std::string folder = FolderOf(to);
  if (::mkdir(folder.c_str(), 0700) == 0) {
    folders_.insert(FolderOf(folder));
  } else if (errno != EEXIST) {
    return ErrnoStatus(errno, StrCat("make folder ", folder));
  }
  if (::fchmod(fd.get(), 0440) != 0) return ErrnoStatus(errno, StrCat("make read-only ", from));
  if (::rename(from.c_str(), to.c_str()) != 0) return ErrnoStatus(errno, StrCat("rename ", from, " to ", to));
  moved_.push_back({std::move(fd), to, undo});
  folders_.insert(folder);
  return absl::OkStatus();
}

absl::Status Moves::Sync() {
  // fdatasync would do for the bytes; fsync carries the mode too, and on ext4 the renames of all files at once.
  for (const Moved& moved : moved_) {
    if (::fsync(moved.fd.get()) != 0) return ErrnoStatus(errno, StrCat("sync ", moved.path));
  }
  for (const std::string& folder : folders_) RETURN_IF_ERROR(SyncDirectory(folder));
  folders_.clear();
  return absl::OkStatus();
}

}  // namespace editd::storage
