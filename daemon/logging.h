// Logging: the daemon's log as JSON, one object a line, on standard error or in a file.
//
// {"time":"2026-11-22T05:00:00.123Z","level":"info","job":12,"message":"PENDING -> STARTING"}
// A message that begins with "job N: " gets its number as a field of its own.
#ifndef EDITD_DAEMON_LOGGING_H_
#define EDITD_DAEMON_LOGGING_H_

#include <string>

#include "daemon/config.h"
#include "storage/base/status.h"

namespace editd::daemon {

// Makes spdlog's default logger write as the configuration says. A relative log_file lies in the state directory, which
// must exist.
absl::Status StartLogging(const Config& config);

// One line of the log, without the newline.
std::string LogLineJson(std::string_view time, std::string_view level, std::string_view message);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_LOGGING_H_
