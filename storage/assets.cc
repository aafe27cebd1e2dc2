#include "storage/assets.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "editd/v1/catalogue.pb.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::storage {
namespace {

// Files up to this size are read whole: an asset that is known already then costs no write.
constexpr uint64_t kReadWhole = 4 << 20;
// A row's time is good enough for gc if it is at most this old.
constexpr int64_t kTouchStep = 60;

// The kind and size of the file behind `fd`; only regular files will do.
absl::StatusOr<uint64_t> RegularSize(int fd, std::string_view name) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, StrCat("stat ", name));
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(StrCat(name, " is not a regular file"));
  return static_cast<uint64_t>(info.st_size);
}

absl::Status Shrunk(std::string_view name) {
  return absl::AbortedError(StrCat(name, " became shorter while it was read; try again"));
}

absl::Status ReadAt(int fd, uint64_t offset, size_t size, char* out, std::string_view name) {
  for (size_t done = 0; done < size;) {
    const ssize_t n = ::pread(fd, out + done, size - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", name));
    if (n == 0) return Shrunk(name);
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> CreateFile(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, StrCat("create ", path));
  return fd;
}

// Removes a file when it goes, unless that was moved away.
struct Removal {
  const std::string& path;
  ~Removal() { ::unlink(path.c_str()); }
};

}  // namespace

absl::Status Assets::Load() {
  std::lock_guard lock(mutex_);
  return catalogue_->Scan(Table::kAssets, "", "",
                          [this](std::string_view key, std::string_view value) -> absl::StatusOr<bool> {
                            editd::v1::AssetRow row;
                            RETURN_IF_ERROR(ParseRow(Table::kAssets, key, value, &row));
                            ASSIGN_OR_RETURN(const Id id, Id::FromBytes(key));
                            index_[id] = {row.size(), row.touched()};
                            return true;
                          });
}

absl::StatusOr<Store::Asset> Assets::Put(int fd, std::string_view name) {
  ASSIGN_OR_RETURN(const uint64_t size, RegularSize(fd, name));
  if (size <= kReadWhole) {
    std::string content(size, '\0');
    RETURN_IF_ERROR(ReadAt(fd, 0, size, content.data(), name));
    return PutBytes(content, name);
  }
  const auto hash = [&](int file, uint64_t bytes, const PieceFunction& also) {
    absl::StatusOr<Id> id = HashFile(ContentKind::Asset(), file, 0, bytes, options_->threads, name, also);
    return absl::IsOutOfRange(id.status()) ? absl::StatusOr<Id>(Shrunk(name)) : id;
  };
  if (MayHave(size)) {
    ASSIGN_OR_RETURN(const Id id, hash(fd, size, nullptr));
    std::lock_guard lock(mutex_);
    ASSIGN_OR_RETURN(const bool there, Touch(id));
    if (there) return Store::Asset{id, size};
  }
  const std::string path = layout_->NewIncomingPath();
  ASSIGN_OR_RETURN(UniqueFd copy, CreateFile(path));
  const Removal removal{path};
  Store::Asset asset{{}, size};
  if (::ioctl(copy.get(), FICLONE, fd) == 0) {
    // Shared blocks. The source may have changed since its size was taken; what was cloned is what counts.
    ASSIGN_OR_RETURN(asset.size, FileSize(copy.get(), name));
    ASSIGN_OR_RETURN(asset.id, hash(copy.get(), asset.size, nullptr));
  } else {
    // What is hashed is what is stored, whoever writes to the source meanwhile; and the disk is busy from the first
    // piece on. With its room asked for at once the file system need not look for a place for every page.
    (void)::fallocate(copy.get(), 0, 0, static_cast<off_t>(size));
    const auto store = [&](uint64_t begin, std::string_view bytes) -> absl::Status {
      RETURN_IF_ERROR(WriteAt(copy.get(), bytes, begin, path));
      BeginWriteback(copy.get(), begin, bytes.size());
      return absl::OkStatus();
    };
    ASSIGN_OR_RETURN(asset.id, hash(fd, size, store));
  }
  return Commit(std::move(copy), path, asset, name);
}

bool Assets::MayHave(uint64_t size) const {
  std::lock_guard lock(mutex_);
  return std::any_of(index_.begin(), index_.end(), [size](const auto& entry) { return entry.second.size == size; });
}

absl::StatusOr<Store::Asset> Assets::PutBytes(std::string_view content, std::string_view name) {
  const Store::Asset asset{HashContent(ContentKind::Asset(), content, options_->threads), content.size()};
  {
    std::lock_guard lock(mutex_);
    ASSIGN_OR_RETURN(const bool there, Touch(asset.id));
    if (there) return asset;
  }
  const std::string path = layout_->NewIncomingPath();
  ASSIGN_OR_RETURN(UniqueFd file, CreateFile(path));
  const Removal removal{path};
  RETURN_IF_ERROR(WriteAll(file.get(), content, path));
  return Commit(std::move(file), path, asset, name);
}

absl::StatusOr<Store::Asset> Assets::Commit(UniqueFd file, const std::string& path, const Store::Asset& asset,
                                            std::string_view name) {
  // The bytes go to the disk before the lock is taken: it may take long, and others need not wait.
  RETURN_IF_ERROR(SyncData(file.get(), path));
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const bool there, Touch(asset.id));
  if (there) return asset;
  Moves moves;
  RETURN_IF_ERROR(moves.Move(std::move(file), path, layout_->AssetPath(asset.id), false));
  RETURN_IF_ERROR(moves.Sync());
  Catalogue::Batch batch;
  AddRow(asset, name, &batch);
  RETURN_IF_ERROR(catalogue_->Write(batch, Catalogue::Durability::kSynced));
  index_[asset.id] = {asset.size, Now()};
  return asset;
}

void Assets::AddRow(const Store::Asset& asset, std::string_view name, Catalogue::Batch* batch) const {
  editd::v1::AssetRow row;
  row.set_size(asset.size);
  row.set_touched(Now());
  row.set_name(std::string(name));
  batch->Put(Table::kAssets, asset.id.view(), row);
}

absl::StatusOr<bool> Assets::Touch(const Id& id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return false;
  const int64_t now = Now();
  if (now - found->second.touched < kTouchStep) return true;
  editd::v1::AssetRow row;
  ASSIGN_OR_RETURN(const bool there, catalogue_->Get(Table::kAssets, id.view(), &row));
  if (!there) return false;
  row.set_touched(now);
  Catalogue::Batch batch;
  batch.Put(Table::kAssets, id.view(), row);
  RETURN_IF_ERROR(catalogue_->Write(batch, Catalogue::Durability::kBuffered));
  found->second.touched = now;
  return true;
}

absl::StatusOr<UniqueFd> Assets::Open(const Id& id) const {
  if (!Find(id).has_value()) return absl::NotFoundError(StrCat("no asset ", id.Hex()));
  return OpenForRead(layout_->AssetPath(id));
}

std::optional<Assets::Entry> Assets::Find(const Id& id) const {
  std::lock_guard lock(mutex_);
  const auto found = index_.find(id);
  return found == index_.end() ? std::nullopt : std::optional<Entry>(found->second);
}

std::unordered_map<Id, Assets::Entry> Assets::List() const {
  std::lock_guard lock(mutex_);
  return index_;
}

absl::StatusOr<Assets::Adopted> Assets::Adopt(const std::string& path, std::string_view name, const Id& known,
                                              Moves* moves, Catalogue::Batch* batch) {
  UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, StrCat("open ", path));
  Adopted adopted;
  adopted.name = name;
  ASSIGN_OR_RETURN(adopted.asset.size, RegularSize(file.get(), path));
  adopted.asset.id = known;
  if (known.empty()) {
    ASSIGN_OR_RETURN(adopted.asset.id,
                     HashFile(ContentKind::Asset(), file.get(), 0, adopted.asset.size, options_->threads, path));
  }
  std::lock_guard lock(mutex_);
  ASSIGN_OR_RETURN(const bool there, Touch(adopted.asset.id));
  if (there) return adopted;
  RETURN_IF_ERROR(moves->Move(std::move(file), path, layout_->AssetPath(adopted.asset.id), false));
  AddRow(adopted.asset, name, batch);
  adopted.fresh = true;
  return adopted;
}

void Assets::Added(const std::vector<Adopted>& assets) {
  std::lock_guard lock(mutex_);
  for (const Adopted& adopted : assets) {
    if (adopted.fresh) index_[adopted.asset.id] = {adopted.asset.size, Now()};
  }
}

absl::StatusOr<std::vector<Id>> Assets::Remove(const std::vector<Id>& ids, int64_t before, const Discard& discard) {
  std::lock_guard lock(mutex_);
  std::vector<Id> removed;
  Catalogue::Batch batch;
  for (const Id& id : ids) {
    const auto found = index_.find(id);
    if (found == index_.end() || found->second.touched >= before) continue;
    batch.Delete(Table::kAssets, id.view());
    removed.push_back(id);
  }
  if (removed.empty()) return removed;
  RETURN_IF_ERROR(catalogue_->Write(batch, Catalogue::Durability::kSynced));
  for (const Id& id : removed) {
    index_.erase(id);
    discard(layout_->AssetPath(id));  // If it fails, the file is an orphan.
  }
  return removed;
}

bool Assets::RemoveUnknown(const Id& id, const std::string& path, const Discard& discard) {
  std::lock_guard lock(mutex_);
  if (index_.contains(id)) return false;
  discard(path);
  return true;
}

}  // namespace editd::storage
