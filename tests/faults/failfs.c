/* A disk that fails: preloaded into editd or edit-worker, it makes the Nth change of a file under a folder fail.
 *
 *   LD_PRELOAD=failfs.so FAILFS_UNDER=/state FAILFS_COUNTER=/tmp/count FAILFS_AT=17 FAILFS_HOW=ENOSPC editd ...
 *
 *   FAILFS_UNDER    the folder; changes elsewhere are not counted
 *   FAILFS_COUNTER  a file with two 64-bit numbers: changes so far, over all processes that name it, and failures made.
 *                   A mapping, so that a killed process has counted too
 *   FAILFS_AT       the number of the change that fails, from 1; 0 or unset: none, only count
 *   FAILFS_HOW      ENOSPC, EIO, or SHORT: a write of more than one byte writes half of it, other calls fail with EIO
 *   FAILFS_STICKY   if set, all later ones fail too, as on a disk that stays full; SHORT goes on as ENOSPC
 *
 * Changes are write, pwrite, writev, pwritev, copy_file_range, fsync, fdatasync, ftruncate, fallocate, rename, link,
 * mkdir and open with O_CREAT, in all their forms. Reads never fail. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct counter {
  _Atomic uint64_t changes;
  _Atomic uint64_t failures;
};

static struct counter* counter;
static char under[PATH_MAX];
static size_t under_size;
static uint64_t fail_at;
static int how; /* The errno, or 0 for a short write. */
static int sticky;

__attribute__((constructor)) static void begin(void) {
  const char* folder = getenv("FAILFS_UNDER");
  const char* file = getenv("FAILFS_COUNTER");
  if (folder == NULL || file == NULL) return;
  /* The system call itself: `open` is ours. */
  const int fd = (int)syscall(SYS_open, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (syscall(SYS_ftruncate, fd, (long)sizeof(struct counter)) == 0) {
    void* mapped = mmap(NULL, sizeof(struct counter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) counter = mapped;
  }
  close(fd);
  snprintf(under, sizeof(under), "%s", folder);
  under_size = strlen(under);
  fail_at = getenv("FAILFS_AT") ? strtoull(getenv("FAILFS_AT"), NULL, 10) : 0;
  const char* word = getenv("FAILFS_HOW") ? getenv("FAILFS_HOW") : "EIO";
  how = strcmp(word, "ENOSPC") == 0 ? ENOSPC : strcmp(word, "SHORT") == 0 ? 0 : EIO;
  sticky = getenv("FAILFS_STICKY") != NULL;
}

static int is_under(const char* path) {
  return strncmp(path, under, under_size) == 0 && (path[under_size] == '/' || path[under_size] == 0);
}

/* True if `fd` is a regular file or folder under the folder. */
static int counts_fd(int fd) {
  struct stat stat;
  if (counter == NULL || fstat(fd, &stat) != 0 || !(S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof(path) - 1);
  if (size < 0) return 1; /* A sandbox that shows no /proc: a worker, whose files are all under it. */
  path[size] = 0;
  return is_under(path);
}

static int counts_path(int folder, const char* path) {
  if (counter == NULL || path == NULL) return 0;
  if (path[0] == '/') return is_under(path);
  return folder != AT_FDCWD && counts_fd(folder);
}

enum verdict { GO_ON, FAIL, HALVE };

/* Counts one change and says what becomes of it. `can_halve`: it is a write of more than one byte. */
static enum verdict judge(int can_halve) {
  const uint64_t number = atomic_fetch_add(&counter->changes, 1) + 1;
  if (fail_at == 0 || number < fail_at || (number > fail_at && !sticky)) return GO_ON;
  atomic_fetch_add(&counter->failures, 1);
  if (how == 0 && number == fail_at && can_halve) return HALVE;
  errno = how != 0 ? how : sticky ? ENOSPC : EIO;
  return FAIL;
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void* real(const char* name) { return dlsym(RTLD_NEXT, name); }

ssize_t write(int fd, const void* data, size_t size) {
  if (counts_fd(fd)) {
    switch (judge(size > 1)) {
      case FAIL:
        return -1;
      case HALVE:
        size /= 2;
        break;
      case GO_ON:
        break;
    }
  }
  return REAL(write)(fd, data, size);
}

static ssize_t positioned(const char* name, int fd, const void* data, size_t size, off_t offset) {
  if (counts_fd(fd)) {
    switch (judge(size > 1)) {
      case FAIL:
        return -1;
      case HALVE:
        size /= 2;
        break;
      case GO_ON:
        break;
    }
  }
  return ((__typeof__(&pwrite))real(name))(fd, data, size, offset);
}
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return positioned("pwrite", fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t offset) {
  return positioned("pwrite64", fd, data, size, offset);
}

/* Half of a vector is its first piece's first half. */
static size_t halve(const struct iovec* pieces, int count, struct iovec* half) {
  if (count == 0) return 0;
  *half = pieces[0];
  if (half->iov_len > 1) half->iov_len /= 2;
  return half->iov_len;
}
ssize_t writev(int fd, const struct iovec* pieces, int count) {
  struct iovec half;
  if (counts_fd(fd)) {
    switch (judge(1)) {
      case FAIL:
        return -1;
      case HALVE:
        if (halve(pieces, count, &half) > 0) return REAL(writev)(fd, &half, 1);
        break;
      case GO_ON:
        break;
    }
  }
  return REAL(writev)(fd, pieces, count);
}
ssize_t pwritev(int fd, const struct iovec* pieces, int count, off_t offset) {
  struct iovec half;
  if (counts_fd(fd)) {
    switch (judge(1)) {
      case FAIL:
        return -1;
      case HALVE:
        if (halve(pieces, count, &half) > 0) return REAL(pwritev)(fd, &half, 1, offset);
        break;
      case GO_ON:
        break;
    }
  }
  return REAL(pwritev)(fd, pieces, count, offset);
}
ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size, unsigned flags) {
  if (counts_fd(to)) {
    switch (judge(size > 1)) {
      case FAIL:
        return -1;
      case HALVE:
        size /= 2;
        break;
      case GO_ON:
        break;
    }
  }
  return REAL(copy_file_range)(from, from_offset, to, to_offset, size, flags);
}

#define FAILING(counts) ((counts) && judge(0) == FAIL)

int fsync(int fd) { return FAILING(counts_fd(fd)) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return FAILING(counts_fd(fd)) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { return FAILING(counts_fd(fd)) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return FAILING(counts_fd(fd)) ? -1 : REAL(ftruncate64)(fd, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
  return FAILING(counts_fd(fd)) ? -1 : REAL(fallocate)(fd, mode, offset, size);
}
int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
  return FAILING(counts_fd(fd)) ? -1 : REAL(fallocate64)(fd, mode, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
  return FAILING(counts_fd(fd)) ? errno : REAL(posix_fallocate)(fd, offset, size);
}
int rename(const char* from, const char* to) {
  return FAILING(counts_path(AT_FDCWD, to)) ? -1 : REAL(rename)(from, to);
}
int renameat(int from_folder, const char* from, int to_folder, const char* to) {
  return FAILING(counts_path(to_folder, to)) ? -1 : REAL(renameat)(from_folder, from, to_folder, to);
}
int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  return FAILING(counts_path(to_folder, to)) ? -1 : REAL(renameat2)(from_folder, from, to_folder, to, flags);
}
int link(const char* from, const char* to) { return FAILING(counts_path(AT_FDCWD, to)) ? -1 : REAL(link)(from, to); }
int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  return FAILING(counts_path(to_folder, to)) ? -1 : REAL(linkat)(from_folder, from, to_folder, to, flags);
}
int mkdir(const char* path, mode_t mode) { return FAILING(counts_path(AT_FDCWD, path)) ? -1 : REAL(mkdir)(path, mode); }
int mkdirat(int folder, const char* path, mode_t mode) {
  return FAILING(counts_path(folder, path)) ? -1 : REAL(mkdirat)(folder, path, mode);
}

/* open with O_CREAT or O_TMPFILE; the mode is there only then. */
static int creates(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }
static int open_at(const char* name, int folder, const char* path, int flags, mode_t mode) {
  if (creates(flags) && FAILING(counts_path(folder, path))) return -1;
  return ((int (*)(int, const char*, int, ...))real(name))(folder, path, flags, mode);
}
static mode_t mode_of(int flags, va_list arguments) { return creates(flags) ? va_arg(arguments, mode_t) : 0; }
#define OPENS(at, folder)                        \
  va_list arguments;                             \
  va_start(arguments, flags);                    \
  const mode_t mode = mode_of(flags, arguments); \
  va_end(arguments);                             \
  return open_at(at, folder, path, flags, mode)
int open(const char* path, int flags, ...) { OPENS("openat", AT_FDCWD); }
int open64(const char* path, int flags, ...) { OPENS("openat64", AT_FDCWD); }
int openat(int folder, const char* path, int flags, ...) { OPENS("openat", folder); }
int openat64(int folder, const char* path, int flags, ...) { OPENS("openat64", folder); }
