// Connection: the daemon's service as plain functions. Nothing of gRPC is seen by who includes this.
//
// The connection is made on the socket directly and handed to gRPC, so that "no daemon" is known at once and no name is
// resolved and no back-off begun: a command takes some 15 ms, most of it the loading of libraries. A connection that
// broke stays broken; open another.
//
// A status has the daemon's code and sentence. UNAVAILABLE: there is no daemon, or it went away.
//
// Thread-safe.
#ifndef EDITD_CLIENT_CONNECTION_H_
#define EDITD_CLIENT_CONNECTION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "editd/v1/service.pb.h"
#include "storage/base/status.h"

namespace editd::client {

// Connects a unix socket. `type` is SOCK_STREAM or SOCK_SEQPACKET. UNAVAILABLE: nobody listens there.
absl::StatusOr<int> ConnectUnixSocket(const std::string& path, int type);

class Connection {
 public:
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const std::string& socket);
  ~Connection();

  absl::StatusOr<v1::SubmitResponse> Submit(const v1::SubmitRequest& request);
  absl::StatusOr<v1::ValidateResponse> Validate(const v1::ValidateRequest& request);
  absl::StatusOr<v1::GetJobResponse> GetJob(uint64_t id);
  absl::StatusOr<v1::ListJobsResponse> ListJobs(const v1::ListJobsRequest& request);
  absl::StatusOr<v1::CancelJobResponse> CancelJob(uint64_t id);
  absl::StatusOr<v1::RetryJobResponse> RetryJob(uint64_t id);
  absl::StatusOr<v1::ListModelsResponse> ListModels();
  absl::StatusOr<v1::GetVersionResponse> GetVersion(const std::string& name);
  absl::StatusOr<v1::GetLineageResponse> GetLineage(const std::string& name);
  absl::StatusOr<v1::ListDescendantsResponse> ListDescendants(const std::string& name);
  absl::StatusOr<v1::MoveRefResponse> MoveRef(const v1::MoveRefRequest& request);
  absl::StatusOr<v1::GetReflogResponse> GetReflog(const std::string& name);
  absl::StatusOr<v1::AddDatasetResponse> AddDataset(const v1::Dataset& dataset);
  absl::StatusOr<v1::GetDatasetResponse> GetDataset(const std::string& name);
  absl::StatusOr<v1::ListDatasetsResponse> ListDatasets();
  absl::StatusOr<v1::RemoveDatasetResponse> RemoveDataset(const std::string& name);
  absl::StatusOr<v1::ListMeasurementsResponse> ListMeasurements(const v1::ListMeasurementsRequest& request);
  absl::StatusOr<v1::ListPluginsResponse> ListPlugins();
  absl::StatusOr<v1::GetPluginResponse> GetPlugin(const std::string& name);
  absl::StatusOr<v1::CollectGarbageResponse> CollectGarbage(const v1::CollectGarbageRequest& request);
  absl::StatusOr<v1::ExplainAliveResponse> ExplainAlive(const std::string& name);
  absl::StatusOr<v1::GetStatusResponse> GetStatus();
  absl::Status Shutdown(bool drain);

  // Calls `on_event` for each event until the stream ends; OK if the daemon ended it, i.e. all was said. `cancelled`
  // may be set from another thread through CancelStreams.
  absl::Status WatchJob(const v1::WatchJobRequest& request, const std::function<void(const v1::Event&)>& on_event);
  absl::Status VerifyStore(const std::function<void(const v1::VerifyStoreResponse&)>& on_response);
  // Ends the streams that are being read; they return CANCELLED. Further ones end at once.
  void CancelStreams();

 private:
  struct Grpc;
  explicit Connection(std::unique_ptr<Grpc> grpc);
  std::unique_ptr<Grpc> grpc_;
};

}  // namespace editd::client

#endif  // EDITD_CLIENT_CONNECTION_H_
