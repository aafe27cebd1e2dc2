// The job as a plugin sees it: the C table of host functions, over Inputs, Outputs and Reporter.
//
// Each function returns a status code and leaves the sentence where error() finds it, one for each thread. Output
// functions during a check, and check functions during a run, are errors and do nothing.
#ifndef EDITD_PLUGINS_HOST_JOB_H_
#define EDITD_PLUGINS_HOST_JOB_H_

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "editd/plugin.h"
#include "plugins/host/checkpoint.h"
#include "plugins/host/inputs.h"
#include "plugins/host/outputs.h"
#include "plugins/host/reporter.h"

// The opaque type of the contract. Outputs and checkpoint are null while a spec is checked.
struct edit_job {
  editd::host::Inputs* inputs;
  editd::host::Outputs* outputs;
  editd::host::Checkpoint* checkpoint;
  editd::host::Reporter* reporter;
  const std::atomic<bool>* stop;

  std::mutex mutex;  // Guards what follows.
  std::vector<std::string> findings;
  std::vector<std::string> notes;  // What was logged while a spec is checked.
  uint64_t memory_bytes = 0;
  uint64_t disk_bytes = 0;
};

namespace editd::host {

const edit_host_v1* HostTable();

// Calls the plugin and makes a status of what it returns.
using PluginFunction = decltype(edit_plugin_v1::run);
absl::Status CallPlugin(PluginFunction function, edit_job* job, std::string_view spec);

}  // namespace editd::host

#endif  // EDITD_PLUGINS_HOST_JOB_H_
