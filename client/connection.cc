#include "client/connection.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <mutex>
#include <set>

#include "editd/v1/service.grpc.pb.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

// What answers from memory, and what runs a plugin's check or walks the store before it answers.
constexpr auto kQuick = std::chrono::seconds(30);
constexpr auto kSlow = std::chrono::minutes(30);

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE && !status.error_message().starts_with("the daemon")) {
    return absl::UnavailableError(StrCat("the daemon went away (", status.error_message(), ")"));
  }
  // What gRPC says of its own; a sentence of the daemon's stays.
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && status.error_message() == "Deadline Exceeded") {
    return absl::DeadlineExceededError("the daemon does not answer");
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace

absl::StatusOr<int> ConnectUnixSocket(const std::string& path, int type) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(StrCat("the socket's path has ", path.size(), " bytes, at most ",
                                             sizeof(address.sun_path) - 1, " are possible: ", path,
                                             "; choose a shorter --state-dir"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) {
      return absl::UnavailableError(StrCat("no daemon at ", path));
    }
    return ErrnoStatus(errno, StrCat("connect to ", path));
  }
  return fd.Release();
}

struct Connection::Grpc {
  std::unique_ptr<v1::Editor::Stub> stub;
  std::mutex mutex;
  std::set<grpc::ClientContext*> streams;  // Guarded by mutex.
  bool cancelled = false;                  // Guarded by mutex.

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::Editor::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                         Response*),
                                const Request& request, std::chrono::system_clock::duration limit = kQuick) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + limit);
    Response response;
    RETURN_IF_ERROR(FromGrpc((stub.get()->*method)(&context, request, &response)));
    return response;
  }

  template <typename Request, typename Response>
  absl::Status Stream(std::unique_ptr<grpc::ClientReader<Response>> (v1::Editor::Stub::*method)(grpc::ClientContext*,
                                                                                                const Request&),
                      const Request& request, const std::function<void(const Response&)>& on_response) {
    grpc::ClientContext context;
    {
      std::lock_guard lock(mutex);
      if (cancelled) return absl::CancelledError("cancelled");
      streams.insert(&context);
    }
    std::unique_ptr<grpc::ClientReader<Response>> reader = (stub.get()->*method)(&context, request);
    Response response;
    while (reader->Read(&response)) on_response(response);
    const grpc::Status status = reader->Finish();
    std::lock_guard lock(mutex);
    streams.erase(&context);
    return FromGrpc(status);
  }
};

Connection::Connection(std::unique_ptr<Grpc> grpc) : grpc_(std::move(grpc)) {}
Connection::~Connection() = default;

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const std::string& socket) {
  ASSIGN_OR_RETURN(const int fd, ConnectUnixSocket(socket, SOCK_STREAM));
  // gRPC polls: a blocking descriptor would hang it. It owns the descriptor from here on.
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // A version of a large model lists many tensors.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  auto state = std::make_unique<Grpc>();
  state->stub = v1::Editor::NewStub(grpc::CreateCustomInsecureChannelFromFd("editd", fd, arguments));
  return std::unique_ptr<Connection>(new Connection(std::move(state)));
}

absl::StatusOr<v1::SubmitResponse> Connection::Submit(const v1::SubmitRequest& request) {
  return grpc_->Call(&v1::Editor::Stub::Submit, request, kSlow);
}

absl::StatusOr<v1::ValidateResponse> Connection::Validate(const v1::ValidateRequest& request) {
  return grpc_->Call(&v1::Editor::Stub::Validate, request, kSlow);
}

absl::StatusOr<v1::GetJobResponse> Connection::GetJob(uint64_t id) {
  v1::GetJobRequest request;
  request.set_id(id);
  return grpc_->Call(&v1::Editor::Stub::GetJob, request);
}

absl::StatusOr<v1::ListJobsResponse> Connection::ListJobs(const v1::ListJobsRequest& request) {
  return grpc_->Call(&v1::Editor::Stub::ListJobs, request);
}

absl::StatusOr<v1::CancelJobResponse> Connection::CancelJob(uint64_t id) {
  v1::CancelJobRequest request;
  request.set_id(id);
  return grpc_->Call(&v1::Editor::Stub::CancelJob, request);
}

absl::StatusOr<v1::RetryJobResponse> Connection::RetryJob(uint64_t id) {
  v1::RetryJobRequest request;
  request.set_id(id);
  return grpc_->Call(&v1::Editor::Stub::RetryJob, request);
}

absl::StatusOr<v1::ListModelsResponse> Connection::ListModels() {
  return grpc_->Call(&v1::Editor::Stub::ListModels, v1::ListModelsRequest());
}

absl::StatusOr<v1::GetVersionResponse> Connection::GetVersion(const std::string& name) {
  v1::GetVersionRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::GetVersion, request);
}

absl::StatusOr<v1::GetLineageResponse> Connection::GetLineage(const std::string& name) {
  v1::GetLineageRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::GetLineage, request);
}

absl::StatusOr<v1::ListDescendantsResponse> Connection::ListDescendants(const std::string& name) {
  v1::ListDescendantsRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::ListDescendants, request);
}

absl::StatusOr<v1::MoveRefResponse> Connection::MoveRef(const v1::MoveRefRequest& request) {
  return grpc_->Call(&v1::Editor::Stub::MoveRef, request);
}

absl::StatusOr<v1::GetReflogResponse> Connection::GetReflog(const std::string& name) {
  v1::GetReflogRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::GetReflog, request);
}

absl::StatusOr<v1::AddDatasetResponse> Connection::AddDataset(const v1::Dataset& dataset) {
  v1::AddDatasetRequest request;
  *request.mutable_dataset() = dataset;
  return grpc_->Call(&v1::Editor::Stub::AddDataset, request);
}

absl::StatusOr<v1::GetDatasetResponse> Connection::GetDataset(const std::string& name) {
  v1::GetDatasetRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::GetDataset, request);
}

absl::StatusOr<v1::ListDatasetsResponse> Connection::ListDatasets() {
  return grpc_->Call(&v1::Editor::Stub::ListDatasets, v1::ListDatasetsRequest());
}

absl::StatusOr<v1::RemoveDatasetResponse> Connection::RemoveDataset(const std::string& name) {
  v1::RemoveDatasetRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::RemoveDataset, request);
}

absl::StatusOr<v1::ListMeasurementsResponse> Connection::ListMeasurements(const v1::ListMeasurementsRequest& request) {
  return grpc_->Call(&v1::Editor::Stub::ListMeasurements, request);
}

absl::StatusOr<v1::ListPluginsResponse> Connection::ListPlugins() {
  return grpc_->Call(&v1::Editor::Stub::ListPlugins, v1::ListPluginsRequest());
}

absl::StatusOr<v1::GetPluginResponse> Connection::GetPlugin(const std::string& name) {
  v1::GetPluginRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::GetPlugin, request);
}

absl::StatusOr<v1::CollectGarbageResponse> Connection::CollectGarbage(const v1::CollectGarbageRequest& request) {
  return grpc_->Call(&v1::Editor::Stub::CollectGarbage, request, kSlow);
}

absl::StatusOr<v1::ExplainAliveResponse> Connection::ExplainAlive(const std::string& name) {
  v1::ExplainAliveRequest request;
  request.set_name(name);
  return grpc_->Call(&v1::Editor::Stub::ExplainAlive, request);
}

absl::StatusOr<v1::GetStatusResponse> Connection::GetStatus() {
  return grpc_->Call(&v1::Editor::Stub::GetStatus, v1::GetStatusRequest());
}

absl::Status Connection::Shutdown(bool drain) {
  v1::ShutdownRequest request;
  request.set_drain(drain);
  return grpc_->Call(&v1::Editor::Stub::Shutdown, request).status();
}

absl::Status Connection::WatchJob(const v1::WatchJobRequest& request,
                                  const std::function<void(const v1::Event&)>& on_event) {
  return grpc_->Stream<v1::WatchJobRequest, v1::WatchJobResponse>(
      &v1::Editor::Stub::WatchJob, request, [&](const v1::WatchJobResponse& response) { on_event(response.event()); });
}

absl::Status Connection::VerifyStore(const std::function<void(const v1::VerifyStoreResponse&)>& on_response) {
  return grpc_->Stream<v1::VerifyStoreRequest, v1::VerifyStoreResponse>(&v1::Editor::Stub::VerifyStore,
                                                                        v1::VerifyStoreRequest(), on_response);
}

void Connection::CancelStreams() {
  std::lock_guard lock(grpc_->mutex);
  grpc_->cancelled = true;
  for (grpc::ClientContext* stream : grpc_->streams) stream->TryCancel();
}

}  // namespace editd::client
