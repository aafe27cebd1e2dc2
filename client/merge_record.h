// editd_merge.json: what a merged version says of each of its tensors, as the plugin "merge" writes it
// (plugins/merge/files.h has the format).
//
// Plain values.
#ifndef EDITD_CLIENT_MERGE_RECORD_H_
#define EDITD_CLIENT_MERGE_RECORD_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/status.h"

namespace editd::client {

inline constexpr char kMergeRecordFile[] = "editd_merge.json";

// An input's tensor that took part.
struct MergedFrom {
  std::string input;    // Its name in the job.
  std::string version;  // 64 hex digits.
  std::string tensor;
  std::optional<double> weight;
  bool base = false;  // Differences were taken from it.
};

struct MergeRecord {
  std::string method;
  bool same = false;  // The tensor is the input's as it is; `from` is that one.
  std::vector<MergedFrom> from;
};

// What `json` says of `tensor`. INVALID_ARGUMENT if it is no such file, or does not name the tensor.
absl::StatusOr<MergeRecord> ReadMergeRecord(std::string_view json, std::string_view tensor);

}  // namespace editd::client

#endif  // EDITD_CLIENT_MERGE_RECORD_H_
