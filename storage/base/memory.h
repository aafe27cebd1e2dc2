// A process's resident memory.
#ifndef EDITD_STORAGE_BASE_MEMORY_H_
#define EDITD_STORAGE_BASE_MEMORY_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace editd {

// VmHWM of /proc/PROCESS/status in bytes; `process` is a pid or "self". 0 if it cannot be read: the process has ended,
// or is a zombie. (getrusage is no substitute: after vfork and exec its ru_maxrss has the parent's memory in it.)
uint64_t PeakResidentBytes(std::string_view process);
// RssAnon: what of it is the process's own now, without pages of files that are mapped.
uint64_t AnonymousBytes(std::string_view process);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_MEMORY_H_
