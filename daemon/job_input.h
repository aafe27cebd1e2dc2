// Job inputs: what a worker is told of the models and files that a job reads, and what it is handed.
//
// The worker gets one read-only descriptor for each pack and each file, and the places of the tensors in the packs. It
// opens nothing itself.
#ifndef EDITD_DAEMON_JOB_INPUT_H_
#define EDITD_DAEMON_JOB_INPUT_H_

#include <string>
#include <vector>

#include "editd/v1/job.pb.h"
#include "editd/v1/model.pb.h"
#include "editd/v1/worker.pb.h"
#include "storage/store.h"

namespace editd::daemon {

struct JobInputs {
  struct Source {
    bool pack;
    Id id;
  };
  v1::JobInput message;
  std::vector<Source> sources;        // Descriptor `first_fd + i` of the message is sources[i].
  std::vector<v1::Version> versions;  // The input versions, with tensors.
};

// For a job whose inputs, files and canonical params are set. FAILED_PRECONDITION if an input's bytes are gone. Any
// thread.
absl::StatusOr<JobInputs> DescribeInputs(const v1::Job& job, const storage::Store& store, uint32_t first_fd);

// Opens the sources, in order. Any thread.
absl::StatusOr<std::vector<UniqueFd>> OpenSources(const JobInputs& inputs, const storage::Store& store);

// What stands in canonical params instead of a binding's path: "asset:<id>" for a file, "tree:<id>" for a folder.
absl::StatusOr<std::string> ContentName(const v1::FileBinding& binding);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_JOB_INPUT_H_
