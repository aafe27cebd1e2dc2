// The service: editd.v1.Editor over gRPC, with health (grpc.health.v1) and reflection.
//
// Handlers run on gRPC's threads and own nothing: they find out who asks, hand the work to the core thread, and wait.
// Connections come from our own listener, which knows their peers; gRPC itself listens nowhere.
//
// This header keeps gRPC's out of the rest of the daemon: they take a minute to compile.
#ifndef EDITD_DAEMON_SERVICE_H_
#define EDITD_DAEMON_SERVICE_H_

#include <functional>
#include <memory>

#include "absl/time/time.h"
#include "daemon/config.h"
#include "daemon/core_thread.h"
#include "daemon/event_log.h"
#include "daemon/jobs.h"
#include "daemon/peers.h"
#include "daemon/plugins.h"
#include "daemon/submission.h"
#include "storage/store.h"

namespace editd::daemon {

// What the handlers work with; nothing is owned.
struct ServiceParts {
  const Config* config;
  CoreThread* core;
  storage::Store* store;
  Jobs* jobs;
  EventNews* news;
  Plugins* plugins;
  Submission* submission;
  std::function<void(bool drain)> shutdown;
};

class Service {
 public:
  explicit Service(ServiceParts parts);
  ~Service();

  absl::Status Start();
  // Serves a connection of the listener.
  void Serve(UniqueFd connection);
  // What the health service says.
  void SetServing(bool serving);
  // Ends calls that are still open after `grace`.
  void Stop(absl::Duration grace);

 private:
  class Rpcs;
  std::unique_ptr<Rpcs> rpcs_;
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_SERVICE_H_
