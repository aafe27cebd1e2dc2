#include "client/format.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "storage/base/strings.h"

namespace editd::client {
namespace {

template <typename... Arguments>
std::string Printf(const char* format, Arguments... arguments) {
  char buffer[128];
  const int size = std::snprintf(buffer, sizeof(buffer), format, arguments...);
  return std::string(buffer, static_cast<size_t>(size));
}

// `value` in steps of 1000: 999.95 is the first that would print as "1000.0".
std::string Scaled(double value, const std::array<const char*, 6>& units) {
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < units.size()) {
    value /= 1000;
    ++unit;
  }
  return Printf("%.1f %s", value, units[unit]);
}

}  // namespace

std::string FormatBytes(double bytes) {
  if (bytes < 1000) return Printf("%.0f B", bytes);
  return Scaled(bytes, {"B", "kB", "MB", "GB", "TB", "PB"});
}

std::string FormatCount(double count) {
  if (count < 10'000) return Printf("%.0f", count);
  return Scaled(count, {"", "k", "M", "G", "T", "P"});
}

std::string FormatSeconds(double seconds) {
  if (seconds < 1) return Printf("%.2f s", seconds);
  if (seconds < 59.95) return Printf("%.1f s", seconds);
  const auto whole = static_cast<long long>(std::llround(seconds));
  if (whole < 3600) return Printf("%lld:%02lld", whole / 60, whole % 60);
  return Printf("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string FormatNumber(double number) { return Printf("%.6g", number); }

std::string FormatAmount(double amount, std::string_view unit) {
  if (unit == "bytes") return FormatBytes(amount);
  return unit.empty() ? FormatCount(amount) : StrCat(FormatCount(amount), " ", unit);
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0 && time.nanos() == 0) return "";
  const auto seconds = static_cast<std::time_t>(time.seconds());
  std::tm parts = {};
  ::localtime_r(&seconds, &parts);
  char buffer[64];
  return std::string(buffer, std::strftime(buffer, sizeof(buffer), "%Y-%m-%d %H:%M:%S", &parts));
}

double SecondsBetween(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to) {
  if (from.seconds() == 0 || to.seconds() == 0) return 0;
  return static_cast<double>(to.seconds() - from.seconds()) + (to.nanos() - from.nanos()) * 1e-9;
}

std::string ShortId(std::string_view id) { return std::string(id.substr(0, 12)); }

std::string Plural(uint64_t count, std::string_view noun) { return StrCat(count, " ", noun, count == 1 ? "" : "s"); }

std::string EnumWord(std::string_view name, std::string_view prefix) {
  if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
  std::string word(name);
  for (char& c : word) c = c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return word;
}

}  // namespace editd::client
