// How long a submit takes to be acknowledged durably, and a no-op job to succeed, as a client on the socket sees it.
//
//   submit_bench SOCKET [COUNT]      against a daemon that loads the plugin "noop" (tests/plugins)
//
// Jobs are submitted one after the other; each is watched to its end, on the same connection, before the next. Prints
// one line: milliseconds of the acknowledgement (median, 99th percentile) and of the whole job (median, 99th
// percentile).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "client/connection.h"
#include "client/watch.h"
#include "storage/base/strings.h"

namespace {

using editd::client::Connection;
using Clock = std::chrono::steady_clock;

double MillisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

absl::Status Run(const std::string& socket, int count) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, Connection::Open(socket));
  std::vector<double> acknowledged, succeeded;
  for (int i = -2; i < count; ++i) {  // The first two warm the check worker up.
    editd::v1::SubmitRequest request;
    request.mutable_spec()->set_plugin("noop");
    request.mutable_spec()->mutable_params()->set_type_url("type.googleapis.com/editd.tests.noop.v1.NoopSpec");
    request.set_force(true);
    const Clock::time_point start = Clock::now();
    ASSIGN_OR_RETURN(const editd::v1::SubmitResponse response, connection->Submit(request));
    const double acknowledgement = MillisecondsSince(start);
    editd::v1::WatchJobRequest watch;
    watch.set_id(response.job().id());
    watch.set_follow(true);
    editd::v1::JobState state = editd::v1::JOB_STATE_UNSPECIFIED;
    RETURN_IF_ERROR(connection->WatchJob(watch, [&state](const editd::v1::Event& event) {
      if (event.has_state()) state = event.state().to();
    }));
    if (state != editd::v1::JOB_STATE_SUCCEEDED) {
      return absl::InternalError(editd::StrCat("job ", response.job().id(), " ended in state ", state));
    }
    if (i < 0) continue;
    acknowledged.push_back(acknowledgement);
    succeeded.push_back(MillisecondsSince(start));
  }
  std::printf("%.2f %.2f %.2f %.2f\n", Percentile(acknowledged, 0.5), Percentile(acknowledged, 0.99),
              Percentile(succeeded, 0.5), Percentile(succeeded, 0.99));
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: submit_bench SOCKET [COUNT]\n");
    return 2;
  }
  const absl::Status status = Run(argv[1], argc > 2 ? std::atoi(argv[2]) : 200);
  if (!status.ok()) std::fprintf(stderr, "submit_bench: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
