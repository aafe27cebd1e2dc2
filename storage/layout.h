// The state directory: where each file lies, and how one gets there safely.
//
// A file is written under staging or incoming, then moved to its final place, named by its content. Moves are made
// durable together (Moves::Sync) before the catalogue names the files. Names here are the only ones that are ever
// opened.
//
// Thread-safe but for Moves, which belongs to one thread.
#ifndef EDITD_STORAGE_LAYOUT_H_
#define EDITD_STORAGE_LAYOUT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/id.h"

namespace editd::storage {

class Layout {
 public:
  // Makes the directory if need be, takes its lock and checks its format.
  static absl::StatusOr<std::unique_ptr<Layout>> Open(const std::string& directory);

  const std::string& directory() const { return directory_; }
  std::string DatabasePath() const { return directory_ + "/db"; }
  std::string PackPath(const Id& id) const;
  std::string AssetPath(const Id& id) const;
  std::string StagingPath(uint64_t job, uint32_t attempt) const;
  std::string CheckpointPath(uint64_t job) const;
  // A new name under incoming.
  std::string NewIncomingPath();

  // True: the format is an older one, which must be brought up to date before MarkComplete.
  bool older_format() const { return older_format_; }
  // Writes the format file, last of all that makes a new store or brings one up to date.
  absl::Status MarkComplete() const;
  // Empties staging and incoming; what attempts have kept there becomes their jobs' checkpoint.
  absl::Status SweepTemporary() const;
  // What the attempt kept in its staging folder becomes its job's checkpoint, in place of an older one. Does nothing if
  // it kept nothing.
  absl::Status KeepCheckpoint(uint64_t job, uint32_t attempt) const;
  // Calls `file` with the job and bytes of each checkpoint.
  absl::Status ForEachCheckpoint(const std::function<void(uint64_t job, uint64_t bytes)>& file) const;
  // Calls `file` with each pack and asset file: whether it is a pack, the id (empty if the name is none), path, bytes
  // and modification time (Unix seconds).
  using FileFunction =
      std::function<absl::Status(bool pack, const Id& id, const std::string& path, uint64_t bytes, int64_t time)>;
  absl::Status ForEachFile(const FileFunction& file) const;

 private:
  Layout(std::string directory, UniqueFd lock, bool older_format)
      : directory_(std::move(directory)), lock_(std::move(lock)), older_format_(older_format) {}

  const std::string directory_;
  const UniqueFd lock_;
  const bool older_format_;
  std::atomic<uint64_t> next_incoming_ = 0;
};

// Files on their way to their final places.
class Moves {
 public:
  Moves() = default;
  ~Moves();
  Moves(const Moves&) = delete;
  Moves& operator=(const Moves&) = delete;

  // Moves the file `fd`, which lies at `from`, to `to`, read-only. Its folder is made if need be. With `undo` it is
  // removed again unless Keep is called; without, the sweep takes it if nothing names it (another thread may have put
  // the same).
  absl::Status Move(UniqueFd fd, const std::string& from, const std::string& to, bool undo);
  // The files and the folders' entries are on the disk when it returns.
  absl::Status Sync();
  void Keep() { moved_.clear(); }

 private:
  struct Moved {
    UniqueFd fd;
    std::string path;
    bool undo;
  };
  std::vector<Moved> moved_;
  std::set<std::string> folders_;
};

}  // namespace editd::storage

#endif  // EDITD_STORAGE_LAYOUT_H_
