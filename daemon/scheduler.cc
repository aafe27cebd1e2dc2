#include "daemon/scheduler.h"

#include <algorithm>

#include "daemon/exits.h"
#include "storage/base/strings.h"

namespace editd::daemon {

std::vector<Decision> Decide(Machine machine, std::vector<Candidate> candidates) {
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.priority != b.priority ? a.priority > b.priority : a.id < b.id;
  });
  std::vector<Decision> decisions;
  uint64_t first_waiting = 0;  // The job that nobody overtakes.
  for (const Candidate& job : candidates) {
    Decision& decision = decisions.emplace_back();
    decision.id = job.id;
    const uint64_t memory_free = machine.memory_budget - std::min(machine.memory_budget, machine.memory_reserved);
    const uint64_t disk_taken = machine.disk_reserved + machine.disk_keep;
    const uint64_t disk_free = machine.disk_free - std::min(machine.disk_free, disk_taken);
    if (machine.draining) {
      decision.reason = v1::PENDING_REASON_DRAINING;
      decision.text = "the daemon is about to end and starts nothing";
    } else if (!job.plugin_problem.empty()) {
      decision.reason = v1::PENDING_REASON_PLUGIN_MISSING;
      decision.text = job.plugin_problem;
    } else if (job.disk > disk_free || machine.disk_free < machine.disk_keep) {
      decision.reason = v1::PENDING_REASON_DISK_LOW;
      decision.text = StrCat("needs ", SizeText(job.disk), " of disk; ", SizeText(machine.disk_free),
                             " are free, of which ", SizeText(disk_taken), " are reserved; editctl gc may free some");
    } else if (first_waiting != 0) {
      decision.reason = v1::PENDING_REASON_PRIORITY;
      decision.text = StrCat("job ", first_waiting, " goes first");
    } else if (machine.running >= machine.max_running) {
      decision.reason = v1::PENDING_REASON_RESOURCES;
      decision.text =
          StrCat(machine.running, machine.running == 1 ? " job runs" : " jobs run", ", as many as max_running allows");
    } else if (machine.running > 0 && job.memory > memory_free) {
      decision.reason = v1::PENDING_REASON_RESOURCES;
      decision.text = StrCat("needs ", SizeText(job.memory), " of memory, ", SizeText(memory_free), " are free");
    } else {
      decision.start = true;
      ++machine.running;
      machine.memory_reserved += job.memory;
      machine.disk_reserved += job.disk;
    }
    if (decision.reason == v1::PENDING_REASON_RESOURCES) first_waiting = job.id;
  }
  return decisions;
}

}  // namespace editd::daemon
