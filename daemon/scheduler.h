// The scheduler: which pending jobs start now, and why the others wait.
//
// Jobs go by priority, then by id, and none overtakes one that waits for slots or memory, so no job starves. A job that
// waits for its plugin's file or for disk holds up nobody. Memory is a ledger of what the plugins estimated, not a look
// at what is free: a job that has just started has not allocated yet. A job that needs more than the whole budget runs
// alone.
//
// A pure function.
#ifndef EDITD_DAEMON_SCHEDULER_H_
#define EDITD_DAEMON_SCHEDULER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "editd/v1/job.pb.h"

namespace editd::daemon {

struct Candidate {
  uint64_t id = 0;
  int32_t priority = 0;
  uint64_t memory = 0;
  uint64_t disk = 0;
  std::string plugin_problem;  // Not empty: the plugin's file is gone.
};

struct Machine {
  uint32_t running = 0, max_running = 1;
  uint64_t memory_reserved = 0, memory_budget = 0;
  uint64_t disk_reserved = 0, disk_free = 0, disk_keep = 0;  // Keep: bytes that stay free whatever happens.
  bool draining = false;
};

struct Decision {
  uint64_t id = 0;
  bool start = false;
  v1::PendingReason reason = v1::PENDING_REASON_UNSPECIFIED;
  std::string text;
};

// One decision for each candidate.
std::vector<Decision> Decide(Machine machine, std::vector<Candidate> candidates);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_SCHEDULER_H_
