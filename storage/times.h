// absl::Time and protobuf's Timestamp.
#ifndef EDITD_STORAGE_TIMES_H_
#define EDITD_STORAGE_TIMES_H_

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace editd::storage {

inline google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  google::protobuf::Timestamp stamp;
  stamp.set_seconds(absl::ToUnixSeconds(time));
  stamp.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(stamp.seconds()))));
  return stamp;
}

inline absl::Time ToTime(const google::protobuf::Timestamp& stamp) {
  return absl::FromUnixSeconds(stamp.seconds()) + absl::Nanoseconds(stamp.nanos());
}

}  // namespace editd::storage

#endif  // EDITD_STORAGE_TIMES_H_
