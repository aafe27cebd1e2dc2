// Submission: from a spec's text to a job, and from a job to its end: what submit, validate, import, export and retry
// have in common.
//
// Thread-compatible.
#ifndef EDITD_CLIENT_SUBMISSION_H_
#define EDITD_CLIENT_SUBMISSION_H_

#include <string>
#include <string_view>

#include "client/session.h"
#include "editd/v1/job.pb.h"
#include "editd/v1/service.pb.h"
#include "storage/base/status.h"

namespace editd::client {

// Reads a spec and puts the files that it names into the store. `name` is for messages; paths are relative to `folder`.
absl::StatusOr<v1::SubmitRequest> PrepareSubmission(Session* session, std::string_view content, std::string_view name,
                                                    const std::string& folder);
// The same of a file, or of "-".
absl::StatusOr<v1::SubmitRequest> PrepareSubmission(Session* session, const std::string& file);

// Submits; says so on standard error, or as JSON (the job) if nobody is going to wait.
absl::StatusOr<v1::Job> SubmitJob(Session* session, const v1::SubmitRequest& request, bool will_wait);

// Shows a job's events until it has ended. CANCELLED after Ctrl-C: the job goes on, and the user was told how to.
absl::StatusOr<v1::Job> FollowJob(Session* session, uint64_t job, uint64_t from_seq);

// Tells how a job ended and what to do next (JSON: the last line of the contract), and returns the exit status.
int TellOutcome(Session* session, const v1::Job& job);

// FollowJob and TellOutcome.
absl::StatusOr<int> WaitForJob(Session* session, uint64_t job);

}  // namespace editd::client

#endif  // EDITD_CLIENT_SUBMISSION_H_
