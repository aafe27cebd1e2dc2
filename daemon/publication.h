// Publication: from what a worker says it made to what the store is asked to commit.
//
// A worker runs a plugin, and a plugin reads files from anywhere; so nothing in its reply is believed. Names must be
// plain, reused tensors and files must be those of the job's own inputs, and staged files must lie in the attempt's own
// folder; the store then checks the pack itself.
//
// Pure functions.
#ifndef EDITD_DAEMON_PUBLICATION_H_
#define EDITD_DAEMON_PUBLICATION_H_

#include <string>

#include "daemon/job_input.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/worker.pb.h"
#include "storage/store.h"

namespace editd::daemon {

// Everything but `job`, `events`, `finish` and `must_equal`. INVALID_ARGUMENT says what is wrong with the reply.
absl::StatusOr<storage::PublishRequest> MakePublication(const v1::Job& job, const v1::RunReply& reply,
                                                        const JobInputs& inputs, const std::string& staging);

// Hashes the staged files and puts them on the disk, so that the core thread need not. Takes as long as the files are
// large; any thread.
absl::Status HashStagedFiles(std::vector<storage::StagedFile>* files);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_PUBLICATION_H_
