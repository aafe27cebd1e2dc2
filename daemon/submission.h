// Submission: from a spec as the user wrote it to a job that can only be run in one way.
//
// Everything is settled here, so that what was checked is what runs: the plugin becomes its file's hash, each model a
// version id, each path and each dataset the id of its content, and params are serialised in one way only. Then the
// plugin itself checks the spec, in its warm worker. Problems are collected, each with its field's path, and told
// together.
//
// Runs on the threads of the RPC handlers; what needs the store is done by the core thread, which waits for nobody.
#ifndef EDITD_DAEMON_SUBMISSION_H_
#define EDITD_DAEMON_SUBMISSION_H_

#include <string>
#include <vector>

#include "daemon/checker.h"
#include "daemon/config.h"
#include "daemon/core_thread.h"
#include "daemon/jobs.h"
#include "daemon/peers.h"
#include "daemon/plugins.h"
#include "editd/v1/service.pb.h"
#include "storage/store.h"

namespace editd::daemon {

class Submission {
 public:
  // None is owned.
  Submission(const Config& config, CoreThread* core, storage::Store* store, Jobs* jobs, Plugins* plugins,
             Checker* checker);

  // Durable when it returns. INVALID_ARGUMENT has the findings, a line each.
  absl::StatusOr<v1::Job> Submit(const v1::SubmitRequest& request, const Peer& peer);
  // The same checks; stores nothing but what a folder's names need. An error only if the checks could not be made.
  absl::StatusOr<v1::ValidateResponse> Validate(const v1::ValidateRequest& request, const Peer& peer);

 private:
  struct Draft {
    v1::Job job;  // Without id and state.
    std::vector<std::string> findings;
    std::vector<std::string> notes;
  };

  absl::StatusOr<Draft> Prepare(const v1::JobSpec& spec, const std::vector<v1::FileBinding>& files, const Peer& peer);
  // On the core thread: models to versions, contents to what the store has, all of it to the recipe.
  void Resolve(const v1::Plugin& plugin, Draft* draft);
  void CheckFiles(Draft* draft);

  const Config& config_;
  CoreThread* const core_;
  storage::Store* const store_;
  Jobs* const jobs_;
  Plugins* const plugins_;
  Checker* const checker_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_SUBMISSION_H_
