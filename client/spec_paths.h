// The files that a spec names: string fields with the option (editd.v1.path_kind). The client opens each with the
// user's own rights and puts its bytes into the store; the daemon never opens a path that a client names.
#ifndef EDITD_CLIENT_SPEC_PATHS_H_
#define EDITD_CLIENT_SPEC_PATHS_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "client/plugin_types.h"
#include "client/transfer.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/options.pb.h"
#include "storage/base/status.h"

namespace editd::client {

// What stands before a dataset's name in place of a path; a file of such a name is "./dataset:...".
inline constexpr std::string_view kDatasetPrefix = "dataset:";

// One field that names a file.
struct PathUse {
  std::string field;  // "params.keep.corpus[1].path"
  std::string path;   // As the spec has it.
  v1::PathKind kind;
};

// In the order of the spec. Empty strings name nothing and are left out.
absl::StatusOr<std::vector<PathUse>> FindPathUses(const v1::JobSpec& spec, const PluginTypes& types);

// Opens each path, relative to `folder`, and puts it into the store. Each path once, even if several fields name it; of
// a folder the regular files in it, symbolic links followed. INVALID_ARGUMENT has all findings, a line each, before
// anything was sent. `on_file` is told each file and its size before it goes.
absl::StatusOr<std::vector<v1::FileBinding>> PutFiles(
    const std::vector<PathUse>& uses, const std::string& folder, Transfer* transfer,
    const std::function<void(const std::string& path, uint64_t size)>& on_file);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SPEC_PATHS_H_
