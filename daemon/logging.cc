#include "daemon/logging.h"

#include <spdlog/formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::daemon {
namespace {

std::string Escaped(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    if (c == '"' || c == '\\') {
      escaped += '\\';
      escaped += c;
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      escaped += absl::StrFormat("\\u%04x", static_cast<unsigned char>(c));
    } else {
      escaped += c;
    }
  }
  return escaped;
}

class JsonFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& entry, spdlog::memory_buf_t& out) override {
    const auto level = spdlog::level::to_string_view(entry.level);
    const std::string time =
        absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(entry.time), absl::UTCTimeZone());
    const std::string line =
        LogLineJson(time, {level.data(), level.size()}, {entry.payload.data(), entry.payload.size()});
    out.append(line.data(), line.data() + line.size());
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

}  // namespace

std::string LogLineJson(std::string_view time, std::string_view level, std::string_view message) {
  std::string job;
  if (message.starts_with("job ")) {
    const size_t end = message.find_first_not_of("0123456789", 4);
    if (end != std::string_view::npos && end > 4 && message.substr(end).starts_with(": ")) {
      job = StrCat("\"job\":", message.substr(4, end - 4), ",");
      message.remove_prefix(end + 2);
    }
  }
  return StrCat("{\"time\":\"", time, "\",\"level\":\"", level, "\",", job, "\"message\":\"",
                Escaped(ToValidUtf8(message)), "\"}");
}

absl::Status StartLogging(const Config& config) {
  std::shared_ptr<spdlog::logger> logger;
  try {
    if (config.log_file.empty()) {
      logger = std::make_shared<spdlog::logger>("editd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    } else {
      const std::string path =
          config.log_file[0] == '/' ? config.log_file : StrCat(config.state_dir, "/", config.log_file);
      logger = std::make_shared<spdlog::logger>("editd", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
    }
  } catch (const std::exception& error) {
    return absl::FailedPreconditionError(StrCat("log_file: ", error.what()));
  }
  logger->set_formatter(std::make_unique<JsonFormatter>());
  logger->set_level(spdlog::level::from_str(config.log_level));
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  return absl::OkStatus();
}

}  // namespace editd::daemon
