// A plugin, loaded for the life of this process.
//
// The file is looked at before the dynamic linker sees it: its hash, if the daemon names one, and its ELF note. It is
// never unloaded: libraries with thread-local destructors and registries do not survive that.
#ifndef EDITD_PLUGINS_HOST_PLUGIN_FILE_H_
#define EDITD_PLUGINS_HOST_PLUGIN_FILE_H_

#include <string>

#include "editd/plugin.h"
#include "storage/base/status.h"

namespace editd::host {

// Loads the plugin at `path`; `hash` is 64 hex digits or empty. FAILED_PRECONDITION if the file is another or has
// another ABI, INVALID_ARGUMENT if it is no plugin. The table lives as long as the process.
absl::StatusOr<const edit_plugin_v1*> LoadPlugin(const std::string& path, const std::string& hash);

// Wire bytes of editd.v1.Plugin without hash and path, which the daemon knows. Written field by field: the worker links
// no message of the contract but its frames, since a plugin may bring its own copy of any other.
std::string DescribePlugin(const edit_plugin_v1& plugin);

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_PLUGIN_FILE_H_
