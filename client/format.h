// Numbers, times and ids as people read them.
#ifndef EDITD_CLIENT_FORMAT_H_
#define EDITD_CLIENT_FORMAT_H_

#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace editd::client {

std::string FormatBytes(double bytes);      // "101.2 MB"; powers of 1000
std::string FormatCount(double count);      // "134.5 M"; below 10,000 all digits
std::string FormatSeconds(double seconds);  // "0.34 s", "3.4 s", "2:05", "1:02:05"
std::string FormatNumber(double number);    // Up to six significant digits: "1.25", "3.1e-05"
// "12.3 MB" for "bytes", else "12.3 k tokens".
std::string FormatAmount(double amount, std::string_view unit);

// Local time, "2026-11-22 05:01:12"; empty if unset.
std::string FormatTime(const google::protobuf::Timestamp& time);
// Seconds from `from` to `to`; 0 if one is unset.
double SecondsBetween(const google::protobuf::Timestamp& from, const google::protobuf::Timestamp& to);

// The first digits of an id: 12, for people.
std::string ShortId(std::string_view id);

// "1 tensor", "2 tensors"
std::string Plural(uint64_t count, std::string_view noun);

// "JOB_STATE_RUNNING" with prefix "JOB_STATE_" -> "running"; "_" becomes a blank.
std::string EnumWord(std::string_view name, std::string_view prefix);

}  // namespace editd::client

#endif  // EDITD_CLIENT_FORMAT_H_
