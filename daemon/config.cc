#include "daemon/config.h"

#include <sys/sysinfo.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <map>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "storage/base/file.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

std::string Trimmed(std::string_view text) { return std::string(absl::StripAsciiWhitespace(ToAbsl(text))); }

using Setter = std::function<absl::Status(const std::string&, Config*)>;

Setter Text(std::string Config::*field) {
  return [field](const std::string& value, Config* config) {
    config->*field = value;
    return absl::OkStatus();
  };
}
Setter Number(uint32_t Config::*field, uint32_t least) {
  return [field, least](const std::string& value, Config* config) {
    uint32_t number;
    if (!absl::SimpleAtoi(value, &number) || number < least) {
      return absl::InvalidArgumentError(StrCat("\"", value, "\" is not a whole number of at least ", least));
    }
    config->*field = number;
    return absl::OkStatus();
  };
}
Setter Size(uint64_t Config::*field) {
  return [field](const std::string& value, Config* config) {
    ASSIGN_OR_RETURN(config->*field, ParseSize(value));
    return absl::OkStatus();
  };
}
Setter Time(absl::Duration Config::*field) {
  return [field](const std::string& value, Config* config) {
    ASSIGN_OR_RETURN(config->*field, ParseDuration(value));
    if (config->*field <= absl::ZeroDuration()) return absl::InvalidArgumentError("a duration above zero is needed");
    return absl::OkStatus();
  };
}

absl::Status SetPluginDirs(const std::string& value, Config* config) {
  config->plugin_dirs = absl::StrSplit(value, ':', absl::SkipEmpty());
  return absl::OkStatus();
}
absl::Status SetLogLevel(const std::string& value, Config* config) {
  for (std::string_view level : {"debug", "info", "warning", "error"}) {
    if (value == level) {
      config->log_level = value;
      return absl::OkStatus();
    }
  }
  return absl::InvalidArgumentError(StrCat("\"", value, "\" is none of debug, info, warning, error"));
}

const std::map<std::string, Setter>& Setters() {
  static const auto* const setters = new std::map<std::string, Setter>{
      {"state_dir", Text(&Config::state_dir)},
      {"socket", Text(&Config::socket)},
      {"transfer_socket", Text(&Config::transfer_socket)},
      {"plugin_dirs", SetPluginDirs},
      {"worker", Text(&Config::worker)},
      {"max_running", Number(&Config::max_running, 1)},
      {"memory_budget", Size(&Config::memory_budget)},
      {"disk_reserve", Size(&Config::disk_reserve)},
      {"default_time", Time(&Config::default_time)},
      {"default_memory", Size(&Config::default_memory)},
      {"default_threads", Number(&Config::default_threads, 0)},
      {"default_max_attempts", Number(&Config::default_max_attempts, 1)},
      {"cancel_grace", Time(&Config::cancel_grace)},
      {"heartbeat", Time(&Config::heartbeat)},
      {"hung_after", Time(&Config::hung_after)},
      {"check_timeout", Time(&Config::check_timeout)},
      {"check_idle", Time(&Config::check_idle)},
      {"gc_grace", Time(&Config::gc_grace)},
      {"log_level", SetLogLevel},
      {"log_file", Text(&Config::log_file)},
  };
  return *setters;
}

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string DefaultConfigFile() {
  std::string home = Environment("XDG_CONFIG_HOME");
  if (home.empty() && !Environment("HOME").empty()) home = Environment("HOME") + "/.config";
  for (const std::string& path : {home + "/editd/editd.conf", std::string("/etc/editd/editd.conf")}) {
    if (!path.starts_with("/editd") && ::access(path.c_str(), F_OK) == 0) return path;
  }
  return "";
}

std::string DefaultStateDir() {
  std::string home = Environment("XDG_DATA_HOME");
  if (home.empty() && !Environment("HOME").empty()) home = Environment("HOME") + "/.local/share";
  return home.empty() ? "" : home + "/editd";
}

}  // namespace

absl::StatusOr<uint64_t> ParseSize(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 10> kUnits = {{{"", 1},
                                                                                    {"B", 1},
                                                                                    {"KB", 1'000},
                                                                                    {"MB", 1'000'000},
                                                                                    {"GB", 1'000'000'000},
                                                                                    {"TB", 1'000'000'000'000},
                                                                                    {"KiB", 1ull << 10},
                                                                                    {"MiB", 1ull << 20},
                                                                                    {"GiB", 1ull << 30},
                                                                                    {"TiB", 1ull << 40}}};
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string unit = Trimmed(text.substr(digits));
  double number;
  if (digits > 0 && absl::SimpleAtod(ToAbsl(text.substr(0, digits)), &number)) {
    for (const auto& [name, factor] : kUnits) {
      const double bytes = number * static_cast<double>(factor);
      if (unit == name && bytes < 9e18) return static_cast<uint64_t>(bytes);
    }
  }
  return absl::InvalidArgumentError(StrCat("\"", text, "\" is not a size; write it as \"12 GB\" or \"500 MiB\""));
}

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, double>, 5> kUnits = {
      {{"ms", 0.001}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}}};
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string unit = Trimmed(text.substr(digits));
  double number;
  if (digits > 0 && absl::SimpleAtod(ToAbsl(text.substr(0, digits)), &number)) {
    for (const auto& [name, seconds] : kUnits) {
      if (unit == name) return absl::Seconds(number * seconds);
    }
  }
  return absl::InvalidArgumentError(StrCat("\"", text, "\" is not a duration; write it as \"30 s\" or \"24 h\""));
}

absl::StatusOr<Flags> ParseFlags(const std::vector<std::string>& arguments) {
  Flags flags;
  const std::map<std::string, std::string*> values = {
      {"--config", &flags.config}, {"--state-dir", &flags.state_dir}, {"--socket", &flags.socket}};
  for (size_t i = 0; i < arguments.size(); ++i) {
    const size_t equals = arguments[i].find('=');
    const std::string name = arguments[i].substr(0, equals);
    if (name == "--help" || name == "-h") {
      flags.help = true;
      continue;
    }
    if (name == "--version") {
      flags.version = true;
      continue;
    }
    const auto found = values.find(name);
    if (found == values.end()) {
      std::vector<std::string> known = {"--help", "--version"};
      for (const auto& [flag, unused] : values) known.push_back(flag);
      return absl::InvalidArgumentError(
          StrCat("there is no flag \"", name, "\"", DidYouMean(name, known), "; editd --help lists them"));
    }
    if (equals != std::string::npos) {
      *found->second = arguments[i].substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      *found->second = arguments[++i];
    } else {
      return absl::InvalidArgumentError(StrCat(name, " needs a value"));
    }
  }
  return flags;
}

absl::Status ParseConfig(std::string_view text, std::string_view name, Config* config) {
  size_t number = 0;
  std::map<std::string, size_t> seen;
  for (absl::string_view line : absl::StrSplit(ToAbsl(text), '\n')) {
    ++number;
    const std::string content = Trimmed(ToStd(line.substr(0, line.find('#'))));
    if (content.empty()) continue;
    const size_t equals = content.find('=');
    const std::string where = StrCat(name, ":", number, ": ");
    if (equals == std::string::npos) {
      return absl::InvalidArgumentError(StrCat(where, "\"", content, "\" is not \"key = value\""));
    }
    const std::string key = Trimmed(content.substr(0, equals));
    const auto setter = Setters().find(key);
    if (setter == Setters().end()) {
      std::vector<std::string> known;
      for (const auto& [known_key, unused] : Setters()) known.push_back(known_key);
      return absl::InvalidArgumentError(StrCat(where, "there is no key \"", key, "\"", DidYouMean(key, known)));
    }
    const auto [first, is_new] = seen.emplace(key, number);
    if (!is_new) {
      return absl::InvalidArgumentError(
          StrCat(where, "\"", key, "\" is set a second time; line ", first->second, " sets it already"));
    }
    const absl::Status status = setter->second(Trimmed(content.substr(equals + 1)), config);
    if (!status.ok()) return Annotate(status, StrCat(where, key));
  }
  return absl::OkStatus();
}

absl::StatusOr<Config> LoadConfig(const Flags& flags, const std::string& program_dir) {
  Config config;
  const std::string file = flags.config.empty() ? DefaultConfigFile() : flags.config;
  if (!file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, ReadWholeFile(file));
    RETURN_IF_ERROR(ParseConfig(text, file, &config));
  }
  // A state directory of one's own brings its sockets along, so that several daemons never meet.
  std::string own = flags.state_dir.empty() ? Environment("EDITD_STATE_DIR") : flags.state_dir;
  if (!own.empty()) {
    config.state_dir = own;
    config.socket.clear();
    config.transfer_socket.clear();
  } else {
    own = config.state_dir;
  }
  if (config.state_dir.empty()) config.state_dir = DefaultStateDir();
  if (config.state_dir.empty()) {
    return absl::InvalidArgumentError("no state directory: HOME is not set; give --state-dir DIR");
  }
  if (!flags.socket.empty()) {
    config.socket = flags.socket;
    config.transfer_socket.clear();
  }
  const std::string runtime = Environment("XDG_RUNTIME_DIR");
  const std::string sockets = own.empty() && !runtime.empty() ? runtime + "/editd" : config.state_dir;
  if (config.socket.empty()) config.socket = sockets + "/editd.sock";
  if (config.transfer_socket.empty()) {
    config.transfer_socket = config.socket.substr(0, config.socket.rfind('/') + 1) + "transfer.sock";
  }
  if (config.plugin_dirs.empty()) config.plugin_dirs = {program_dir + "/../lib/editd/plugins"};
  if (config.worker.empty()) config.worker = program_dir + "/edit-worker";
  if (config.memory_budget == 0) {
    struct sysinfo machine = {};
    ::sysinfo(&machine);
    config.memory_budget = machine.totalram * machine.mem_unit / 10 * 8;
  }
  if (config.default_memory == 0) config.default_memory = config.memory_budget;
  if (config.default_threads == 0) config.default_threads = std::max(1u, std::thread::hardware_concurrency());
  return config;
}

}  // namespace editd::daemon
