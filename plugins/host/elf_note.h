// What a plugin file says of itself before it is loaded: its ELF note, and where its libraries are looked for.
//
// A strict reader of little-endian ELF64 shared objects for this machine. Loading an object runs its constructors, so
// what is not for this host must be told apart first. Nothing in the file is believed: each offset and count is
// checked.
//
// Functions are thread-safe.
#ifndef EDITD_PLUGINS_HOST_ELF_NOTE_H_
#define EDITD_PLUGINS_HOST_ELF_NOTE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/status.h"

namespace editd::host {

struct PluginNote {
  uint32_t abi_major = 0;
  uint32_t abi_minor = 0;
  std::string name;
};

// The note in the object's bytes. INVALID_ARGUMENT if they are no shared object of this machine, or hold no such note
// or several.
absl::StatusOr<PluginNote> ReadPluginNote(std::string_view object);

// OK if this host can load the plugin; else FAILED_PRECONDITION with both versions and what to do.
absl::Status CheckAbi(const PluginNote& note);

// The folders of the object's DT_RUNPATH and DT_RPATH, with $ORIGIN replaced by `origin`.
absl::StatusOr<std::vector<std::string>> ReadLibraryFolders(std::string_view object, std::string_view origin);

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_ELF_NOTE_H_
