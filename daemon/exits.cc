#include "daemon/exits.h"

#include <csignal>
#include <cstring>

#include "absl/strings/str_format.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

std::string SignalText(int signal) {
  const char* const abbreviation = ::sigabbrev_np(signal);
  return abbreviation == nullptr ? StrCat("signal ", signal) : StrCat("SIG", abbreviation);
}

std::string OutOfMemoryText(const Ended& ended) {
  return StrCat("the worker needs more memory than its limit of ", SizeText(ended.memory_limit), " (peak ",
                SizeText(ended.exit.peak_rss_bytes), "); raise limits.memory_bytes");
}

}  // namespace

std::string SizeText(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 5) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? absl::StrFormat("%d B", bytes) : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string DurationText(absl::Duration duration) {
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 120) return absl::StrFormat("%g s", seconds);
  if (seconds < 7200) return absl::StrFormat("%.3g min", seconds / 60);
  return absl::StrFormat("%.3g h", seconds / 3600);
}

Verdict Classify(const Ended& ended) {
  switch (ended.why) {
    case Ending::kShutdown:
      return {v1::EXIT_CLASS_INTERRUPTED, "the daemon ended while the job ran"};
    case Ending::kCancelled:
      return {v1::EXIT_CLASS_CANCELLED, "cancelled"};
    case Ending::kTimedOut:
      return {v1::EXIT_CLASS_TIMED_OUT, StrCat("the job ran longer than its limit of ", DurationText(ended.time_limit),
                                               "; raise limits.time_seconds")};
    case Ending::kHung:
      return {v1::EXIT_CLASS_HUNG,
              StrCat("the worker gave no sign of life for ", DurationText(ended.hung_after), " and was ended")};
    case Ending::kByItself:
      break;
  }
  if (ended.reply.has_value() && !ended.reply->has_error()) return {v1::EXIT_CLASS_OK, ""};
  if (ended.reply.has_value()) {
    const v1::WorkerError& error = ended.reply->error();
    if (error.invalid_output()) return {v1::EXIT_CLASS_INVALID_OUTPUT, error.message()};
    if (ended.exit.status == kWorkerOutOfMemory) return {v1::EXIT_CLASS_OUT_OF_MEMORY, OutOfMemoryText(ended)};
    return {v1::EXIT_CLASS_PLUGIN_ERROR, error.message()};
  }
  if (!ended.exit.protocol_error.empty()) {
    return {v1::EXIT_CLASS_CRASHED, StrCat("the worker broke the protocol: ", ended.exit.protocol_error)};
  }
  if (ended.exit.status == kWorkerOutOfMemory) return {v1::EXIT_CLASS_OUT_OF_MEMORY, OutOfMemoryText(ended)};
  if (ended.exit.status < 0) {
    return {v1::EXIT_CLASS_CRASHED, StrCat("the worker died of ", SignalText(-ended.exit.status))};
  }
  return {v1::EXIT_CLASS_CRASHED, StrCat("the worker ended with exit status ", ended.exit.status, " and no result")};
}

bool StartsAgain(const v1::Job& job, v1::ExitClass exit_class) {
  uint32_t made = 0;
  uint32_t crashed = 0;
  for (const v1::Attempt& attempt : job.attempts()) {
    if (attempt.number() <= job.attempts_before_retry()) continue;
    ++made;
    if (attempt.exit_class() == v1::EXIT_CLASS_CRASHED || attempt.exit_class() == v1::EXIT_CLASS_HUNG) ++crashed;
  }
  if (job.cancel_requested() || made >= job.spec().limits().max_attempts()) return false;
  switch (exit_class) {
    case v1::EXIT_CLASS_INTERRUPTED:
      return true;
    case v1::EXIT_CLASS_CRASHED:
    case v1::EXIT_CLASS_HUNG:
      return crashed <= 1;
    default:
      return false;
  }
}

}  // namespace editd::daemon
