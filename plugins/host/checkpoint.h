// Checkpoint: what a plugin keeps for a later attempt at the same job, and finds again there.
//
// It lies in the attempt's staging folder as file "checkpoint"; the daemon moves it out when the attempt has ended, or
// at its next start, and hands it to the job's next attempt. A new one takes the place of the old by rename, so a kill
// at any moment leaves one of the two whole. Nothing is synced: a kill of worker or daemon loses nothing, and what a
// power failure tears is told by its checksum. storage/FORMAT.md has the layout.
//
// Thread-safe.
#ifndef EDITD_PLUGINS_HOST_CHECKPOINT_H_
#define EDITD_PLUGINS_HOST_CHECKPOINT_H_

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/file.h"
#include "storage/base/id.h"
#include "storage/base/status.h"

namespace editd::host {

class Checkpoint {
 public:
  // What a checkpoint belongs to: a job with its recipe (spec, inputs, seed), and a build of the plugin.
  static Id Owner(uint64_t job, std::string_view recipe, std::string_view plugin_hash);

  // `last` is what an earlier attempt left; invalid: nothing.
  Checkpoint(const Id& owner, UniqueFd staging, UniqueFd last)
      : owner_(owner), staging_(std::move(staging)), last_(std::move(last)) {}

  // RESOURCE_EXHAUSTED if it is too large or the disk is full; what was kept before then stays.
  absl::Status Save(std::string_view bytes);
  // What an earlier attempt kept; empty if nothing. It stays as long as this. FAILED_PRECONDITION, DATA_LOSS: there is
  // something, but it cannot be used.
  absl::StatusOr<std::string_view> Load();

 private:
  const Id owner_;
  const UniqueFd staging_;
  std::mutex mutex_;  // Guards what follows.
  UniqueFd last_;
  std::optional<std::string> loaded_;  // The whole file.
  std::string_view content_;
  absl::Status load_status_;
};

// The content of a checkpoint's file, which must be `owner`'s.
absl::StatusOr<std::string_view> ParseCheckpoint(std::string_view file, const Id& owner);

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_CHECKPOINT_H_
