#include "plugins/host/sandbox.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>

#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::host {
namespace {

// Of <linux/landlock.h>; written out because the header of the build machine may be older than the kernel.
namespace landlock {
constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;
constexpr uint32_t kVersion = 1, kPathBeneath = 1;
constexpr uint64_t kExecute = 1 << 0, kWriteFile = 1 << 1, kReadFile = 1 << 2, kReadDir = 1 << 3, kRemoveFile = 1 << 5,
                   kMakeReg = 1 << 8;
constexpr uint64_t kFirst = (1 << 13) - 1, kRefer = 1 << 13, kTruncate = 1 << 14, kDeviceControl = 1 << 15;
constexpr uint64_t kBindTcp = 1 << 0, kConnectTcp = 1 << 1;
constexpr uint64_t kAbstractSocket = 1 << 0, kSignal = 1 << 1;

struct Ruleset {
  uint64_t files;
  uint64_t network;
  uint64_t scoped;
};
struct __attribute__((packed)) Beneath {
  uint64_t allowed;
  int32_t parent;
};
}  // namespace landlock

// Folders and devices of the system. /proc is needed by libraries that look at the processor and at their own memory;
// another process's secrets there stay closed, since the kernel treats looking at them as tracing.
constexpr const char* kSystem[] = {"/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev"};
constexpr const char* kWritableDevices[] = {"/dev/null", "/dev/zero", "/dev/full"};

absl::Status AllowBeneath(int ruleset, int folder, uint64_t allowed, std::string_view name) {
  struct stat info;
  if (::fstat(folder, &info) == 0 && !S_ISDIR(info.st_mode)) {
    allowed &= landlock::kExecute | landlock::kWriteFile | landlock::kReadFile | landlock::kTruncate |
               landlock::kDeviceControl;
  }
  const landlock::Beneath rule = {allowed, folder};
  if (::syscall(landlock::kAddRule, ruleset, landlock::kPathBeneath, &rule, 0) != 0) {
    return ErrnoStatus(errno, StrCat("landlock: ", name));
  }
  return absl::OkStatus();
}

absl::Status AllowPath(int ruleset, const std::string& path, uint64_t allowed) {
  UniqueFd fd(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!fd.valid()) return absl::OkStatus();  // Not there, so nothing to allow.
  return AllowBeneath(ruleset, fd.get(), allowed, path);
}

absl::Status RestrictFiles(const Sandbox& sandbox, std::vector<std::string>* missing) {
  const long abi = ::syscall(landlock::kCreateRuleset, nullptr, 0, landlock::kVersion);
  if (abi < 1) {
    missing->push_back("landlock");
    return absl::OkStatus();
  }
  landlock::Ruleset wanted = {landlock::kFirst, 0, 0};
  size_t size = sizeof(uint64_t);
  if (abi >= 2) wanted.files |= landlock::kRefer;
  if (abi >= 3) wanted.files |= landlock::kTruncate;
  if (abi >= 4) {
    wanted.network = landlock::kBindTcp | landlock::kConnectTcp;
    size = 2 * sizeof(uint64_t);
  }
  if (abi >= 5) wanted.files |= landlock::kDeviceControl;
  if (abi >= 6) {
    wanted.scoped = landlock::kAbstractSocket | landlock::kSignal;
    size = 3 * sizeof(uint64_t);
  }
  UniqueFd ruleset(static_cast<int>(::syscall(landlock::kCreateRuleset, &wanted, size, 0)));
  if (!ruleset.valid()) return ErrnoStatus(errno, "landlock");
  const uint64_t read = landlock::kExecute | landlock::kReadFile | landlock::kReadDir;
  const uint64_t device = (landlock::kReadFile | landlock::kWriteFile | landlock::kDeviceControl) & wanted.files;
  for (const char* path : kSystem) RETURN_IF_ERROR(AllowPath(ruleset.get(), path, read));
  for (const std::string& path : sandbox.readable) RETURN_IF_ERROR(AllowPath(ruleset.get(), path, read));
  for (const char* path : kWritableDevices) RETURN_IF_ERROR(AllowPath(ruleset.get(), path, device));
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", ignored)) {
    if (!entry.path().filename().string().starts_with("nvidia")) continue;
    RETURN_IF_ERROR(AllowPath(ruleset.get(), entry.path(), device | landlock::kReadDir));
  }
  if (sandbox.staging >= 0) {
    const uint64_t write = (landlock::kReadFile | landlock::kReadDir | landlock::kWriteFile | landlock::kMakeReg |
                            landlock::kRemoveFile | landlock::kTruncate) &
                           wanted.files;
    RETURN_IF_ERROR(AllowBeneath(ruleset.get(), sandbox.staging, write, "the staging folder"));
  }
  if (::syscall(landlock::kRestrictSelf, ruleset.get(), 0) != 0) return ErrnoStatus(errno, "landlock");
  return absl::OkStatus();
}

// What no plugin needs. A list of what is forbidden, not of what is allowed: libraries of numeric code call much, and a
// new C library must not break every plugin. io_uring is here because its calls pass by this filter.
constexpr const char* kForbidden[] = {

    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "kcmp",
    "pidfd_getfd",
    "perf_event_open",
    "bpf",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "request_key",
    "keyctl",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "mount",
    "umount2",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "pivot_root",
    "chroot",
    "unshare",
    "setns",
    "acct",
    "quotactl",
    "quotactl_fd",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "syslog",
    "vhangup",
    "iopl",
    "ioperm",
    "modify_ldt",
    "uselib",
    "ustat",
    "sysfs",
    "nfsservctl",
    "lookup_dcookie",
    "mknod",
    "mknodat",
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    "ptrace",
    "execve",
    "execveat",  // Sanitizers look for leaks and start a symbolizer.
#endif
};

absl::Status RestrictCalls() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) return absl::ResourceExhaustedError("seccomp: no memory");
  int result = 0;
  for (const char* name : kForbidden) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;  // Not on this machine.
    result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    if (result != 0 && result != -EDOM) break;
    result = 0;
  }
  // Sockets only of the unix domain.
  if (result == 0) {
    result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
  }
  // Pushing characters into a terminal.
  if (result == 0) {
    result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                              SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, 0x5412 /* TIOCSTI */));
  }
  if (result == 0) result = seccomp_load(filter);
  seccomp_release(filter);
  return result == 0 ? absl::OkStatus() : ErrnoStatus(-result, "seccomp");
}

}  // namespace

absl::Status EnterSandbox(const Sandbox& sandbox, std::vector<std::string>* missing) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus(errno, "no_new_privs");
  RETURN_IF_ERROR(RestrictFiles(sandbox, missing));
  if (::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0 && errno == EINVAL) {
    missing->push_back("seccomp");
    return absl::OkStatus();
  }
  return RestrictCalls();
}

}  // namespace editd::host
