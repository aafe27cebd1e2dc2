#include "storage/base/memory.h"

#include "absl/strings/numbers.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd {

namespace {

// `field` with its colon.
uint64_t FieldOfStatus(std::string_view process, std::string_view field) {
  const auto status = ReadWholeFile(StrCat("/proc/", process, "/status"));
  if (!status.ok()) return 0;
  const size_t at = status->find(field);
  if (at == std::string::npos) return 0;
  const size_t digit = status->find_first_of("0123456789", at);
  uint64_t kilobytes = 0;
  if (digit == std::string::npos ||
      !absl::SimpleAtoi(status->substr(digit, status->find(' ', digit) - digit), &kilobytes)) {
    return 0;
  }
  return kilobytes * 1024;
}

}  // namespace

uint64_t PeakResidentBytes(std::string_view process) { return FieldOfStatus(process, "VmHWM:"); }

uint64_t AnonymousBytes(std::string_view process) { return FieldOfStatus(process, "RssAnon:"); }

}  // namespace editd
