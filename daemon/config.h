// Config: what the daemon was told, by its configuration file, its flags and the environment.
//
// The file has one `key = value` a line; `#` begins a comment. Every key, with its default and its meaning, stands in
// deploy/editd.conf, and an unknown key is an error that names the nearest one. Sizes take B, KB, MB, GB, TB (powers of
// 1000) or KiB, MiB, GiB, TiB; durations ms, s, m, h, d.
//
// A value; read by every thread after start-up, changed by none.
#ifndef EDITD_DAEMON_CONFIG_H_
#define EDITD_DAEMON_CONFIG_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "storage/base/status.h"

namespace editd::daemon {

struct Config {
  std::string state_dir;
  std::string socket;
  std::string transfer_socket;
  std::vector<std::string> plugin_dirs;
  std::string worker;  // The program edit-worker.
  uint32_t max_running = 1;
  uint64_t memory_budget = 0;  // Bytes that running jobs may reserve together.
  uint64_t disk_reserve = 1'000'000'000;
  absl::Duration default_time = absl::Hours(24);
  uint64_t default_memory = 0;  // A worker's limit; 0: the memory budget.
  uint32_t default_threads = 0;
  uint32_t default_max_attempts = 3;
  absl::Duration cancel_grace = absl::Seconds(30);
  absl::Duration heartbeat = absl::Seconds(5);
  absl::Duration hung_after = absl::Seconds(60);
  absl::Duration check_timeout = absl::Seconds(20);
  absl::Duration check_idle = absl::Minutes(5);
  absl::Duration gc_grace = absl::Hours(1);
  std::string log_level = "info";
  std::string log_file;  // Empty: standard error.
};

// What the command line says; empty fields say nothing.
struct Flags {
  std::string config;
  std::string state_dir;
  std::string socket;
  bool help = false;
  bool version = false;
};

// `editd --state-dir DIR --config FILE --socket PATH`; also `--flag=value`. INVALID_ARGUMENT names the nearest flag.
absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments);

// Applies the lines of `text` to `config`. `name` is the file's, for messages.
absl::Status ParseConfig(std::string_view text, std::string_view name, Config* config);

// Reads the file (flag, else $XDG_CONFIG_HOME/editd/editd.conf or /etc/editd/editd.conf if there), then lets
// environment and flags override it, then fills in what depends on the machine. `program_dir` is the folder of the
// running program.
absl::StatusOr<Config> LoadConfig(const Flags& flags, const std::string& program_dir);

absl::StatusOr<uint64_t> ParseSize(std::string_view text);
absl::StatusOr<absl::Duration> ParseDuration(std::string_view text);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_CONFIG_H_
