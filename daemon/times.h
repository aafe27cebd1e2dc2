// Times: absl's and protobuf's.
#ifndef EDITD_DAEMON_TIMES_H_
#define EDITD_DAEMON_TIMES_H_

#include <google/protobuf/timestamp.pb.h>

#include "absl/time/time.h"

namespace editd::daemon {

inline google::protobuf::Timestamp Timestamp(absl::Time time) {
  google::protobuf::Timestamp timestamp;
  const int64_t seconds = absl::ToUnixSeconds(time);
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

inline absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_TIMES_H_
