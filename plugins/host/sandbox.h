// What a worker can still do once its plugin is loaded: read system files and libraries, write its staging folder, use
// the descriptors that it was given. No network, no other program, no look into other processes.
//
// Landlock and seccomp, each where the kernel has it; both can only be narrowed afterwards. The rules and their
// reasons: plugins/host/FRAMES.md, "What a worker may do".
#ifndef EDITD_PLUGINS_HOST_SANDBOX_H_
#define EDITD_PLUGINS_HOST_SANDBOX_H_

#include <string>
#include <vector>

#include "storage/base/status.h"

namespace editd::host {

struct Sandbox {
  std::vector<std::string> readable;  // Folders besides the system's. One that does not exist is passed over.
  int staging = -1;                   // Descriptor of the one writable folder; -1: none.
};

// Applies to the calling thread and to all that it starts from now on, so there should be no other yet. What the kernel
// does not have is left out and named in `missing`.
absl::Status EnterSandbox(const Sandbox& sandbox, std::vector<std::string>* missing);

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_SANDBOX_H_
