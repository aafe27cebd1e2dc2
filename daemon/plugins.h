// Plugins: the files that may be run, found in the plugin folders.
//
// A folder or file that is not owned by root or the daemon's user, or that others may write to, is refused: whoever
// could change a plugin would be the daemon's user. Each file is named by the SHA-256 of its bytes; a worker loads it
// once to ask what it is, and the answer is kept in the store under the hash. A file that cannot be described stays in
// the list with the problem; if its worker was killed or gave no answer, it is asked again later. Files are looked at
// again whenever a client lists plugins or submits a job; unchanged ones (size, times, inode) cost one stat.
//
// Thread-safe. Scan waits for the core thread, so it is not for that one; Find and Usable are for any.
#ifndef EDITD_DAEMON_PLUGINS_H_
#define EDITD_DAEMON_PLUGINS_H_

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/core_thread.h"
#include "daemon/launcher.h"
#include "daemon/plugin_types.h"
#include "editd/v1/plugin.pb.h"
#include "storage/store.h"

namespace editd::daemon {

struct KnownPlugin {
  v1::Plugin plugin;                   // With `problem` if it cannot be run.
  std::shared_ptr<PluginTypes> types;  // Null if there is a problem.
};

class Plugins {
 public:
  Plugins(std::vector<std::string> folders, Launcher* launcher, CoreThread* core, storage::Store* store);

  // Looks at the folders anew.
  void Scan();
  // By name. NOT_FOUND names the nearest; FAILED_PRECONDITION says the problem of a plugin that cannot be run.
  absl::StatusOr<KnownPlugin> Find(std::string_view name) const;
  std::vector<v1::Plugin> List() const;  // By name; those with a problem too.
  // The path of the plugin with this hash if its file is unchanged; else why the job has to wait.
  absl::StatusOr<std::string> Usable(std::string_view name, std::string_view hash) const;

 private:
  struct FileState {
    dev_t device;
    ino_t inode;
    off_t size;
    int64_t modified, changed;  // Nanoseconds.
    bool operator==(const FileState&) const = default;
  };
  struct Found {
    FileState state = {};
    KnownPlugin known;
    std::chrono::steady_clock::time_point ask_again = std::chrono::steady_clock::time_point::max();
  };

  static absl::StatusOr<FileState> Look(const std::string& path, bool folder);
  Found Describe(const std::string& path, const FileState& state);
  absl::StatusOr<v1::Plugin> Ask(const std::string& path, const Id& hash);

  const std::vector<std::string> folders_;
  Launcher* const launcher_;
  CoreThread* const core_;
  storage::Store* const store_;
  std::mutex scanning_;                 // One scan at a time; held while workers are asked.
  mutable std::mutex mutex_;            // Guards found_ and problems_; held for moments.
  std::map<std::string, Found> found_;  // By path.
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_PLUGINS_H_
