// Watching a job: its events in order, each once, over any number of connections.
//
// A thread reads the stream; the caller's thread gets the events, and a tick at least each 100 ms. When the connection
// breaks, a new one is made after a pause that grows, and goes on after the last event seen. So a watch survives a
// restart of the daemon. It does not wait for a daemon that is gone: one that said why it ended ends the watch at once,
// and where nobody listens any more, a restart would have been over in a few seconds.
#ifndef EDITD_CLIENT_WATCH_H_
#define EDITD_CLIENT_WATCH_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "client/connection.h"
#include "editd/v1/job.pb.h"
#include "storage/base/status.h"

namespace editd::client {

struct WatchOptions {
  std::string socket;
  uint64_t job = 0;
  uint64_t from_seq = 1;
  bool follow = true;
  const std::atomic<bool>* stop = nullptr;  // Set by a signal: the watch ends with CANCELLED.
  double give_up_seconds = 60;              // The daemon listens, but does not answer.
  double gone_seconds = 5;                  // Nobody listens.

  std::function<void(const v1::Event&)> on_event;
  std::function<void()> on_tick;
  std::function<void(const std::string&)> on_trouble;  // The connection is lost, or back.
};

// Returns when the job has ended (or, without follow, when all events were told), with the job as it then stands.
// UNAVAILABLE: the daemon went away and did not come back in time.
absl::StatusOr<v1::Job> WatchJob(const WatchOptions& options);

bool IsFinal(v1::JobState state);

}  // namespace editd::client

#endif  // EDITD_CLIENT_WATCH_H_
