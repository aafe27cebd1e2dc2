// Fetching what a job exported: descriptors come over the transfer socket, the bytes are copied by the cheapest way
// that the file systems allow (shared blocks, in the kernel, through memory).
#ifndef EDITD_CLIENT_FETCH_H_
#define EDITD_CLIENT_FETCH_H_

#include <string>

#include "client/transfer.h"
#include "editd/v1/job.pb.h"
#include "storage/base/status.h"

namespace editd::client {

// Copies `job.exported` into `folder`, made if it is not there. Each file appears whole or not at all, and is durable.
// Returns the bytes.
absl::StatusOr<uint64_t> FetchFiles(const v1::Job& job, const std::string& folder, Transfer* transfer);

// Copies all `size` bytes of `from` into the empty file `to`. `name` is for messages.
absl::Status CopyContent(int from, int to, uint64_t size, const std::string& name);

}  // namespace editd::client

#endif  // EDITD_CLIENT_FETCH_H_
