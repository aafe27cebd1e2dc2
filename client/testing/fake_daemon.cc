#include "client/testing/fake_daemon.h"

#include <grpcpp/grpcpp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <thread>

#include "client/transfer.h"
#include "editd/v1/service.grpc.pb.h"
#include "storage/base/file.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

grpc::Status NotFound(const std::string& what) { return {grpc::StatusCode::NOT_FOUND, "no " + what}; }

}  // namespace

class FakeDaemon::Service : public v1::Editor::Service {
 public:
  explicit Service(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status Submit(grpc::ServerContext*, const v1::SubmitRequest* request, v1::SubmitResponse* response) override {
    daemon_.submitted.push_back(*request);
    response->mutable_job()->set_id(daemon_.submitted.size());
    *response->mutable_job()->mutable_spec() = request->spec();
    return grpc::Status::OK;
  }
  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::GetJobResponse* response) override {
    const auto job = daemon_.jobs.find(request->id());
    if (job == daemon_.jobs.end()) return NotFound(StrCat("job ", request->id()));
    *response->mutable_job() = job->second;
    return grpc::Status::OK;
  }
  grpc::Status WatchJob(grpc::ServerContext*, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::WatchJobResponse>* writer) override {
    daemon_.watched_from.push_back(request->from_seq());
    uint64_t sent = 0;
    for (const v1::Event& event : daemon_.events) {
      if (event.seq() < request->from_seq()) continue;
      v1::WatchJobResponse response;
      *response.mutable_event() = event;
      writer->Write(response);
      if (daemon_.watched_from.size() == 1 && ++sent == daemon_.break_after) {
        return {static_cast<grpc::StatusCode>(daemon_.break_with.code()), std::string(daemon_.break_with.message())};
      }
    }
    return grpc::Status::OK;
  }
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override {
    for (const v1::Model& model : daemon_.models) *response->add_models() = model;
    return grpc::Status::OK;
  }
  grpc::Status GetVersion(grpc::ServerContext*, const v1::GetVersionRequest* request,
                          v1::GetVersionResponse* response) override {
    const auto version = daemon_.versions.find(request->name());
    if (version == daemon_.versions.end()) return NotFound("version named " + request->name());
    *response->mutable_version() = version->second;
    return grpc::Status::OK;
  }
  grpc::Status GetPlugin(grpc::ServerContext*, const v1::GetPluginRequest* request,
                         v1::GetPluginResponse* response) override {
    const auto plugin = daemon_.plugins.find(request->name());
    if (plugin == daemon_.plugins.end()) return NotFound("plugin named " + request->name());
    *response->mutable_plugin() = plugin->second;
    return grpc::Status::OK;
  }

 private:
  FakeDaemon& daemon_;
};

// The two sockets while they are served.
struct FakeDaemon::Server {
  std::unique_ptr<grpc::Server> grpc;
  UniqueFd listener;
  std::thread transfer;

  void ServeTransfers(FakeDaemon* daemon) {
    for (;;) {
      const UniqueFd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection.valid()) return;
      for (;;) {
        UniqueFd passed;
        const auto packet = ReceivePacket(connection.get(), &passed);
        if (!packet.ok() || packet->empty()) break;
        v1::TransferRequest request;
        request.ParseFromString(*packet);
        v1::TransferResponse response;
        UniqueFd answer;
        if (request.has_put_asset()) {
          const auto content = ReadWholeFile(StrCat("/proc/self/fd/", passed.get()));
          daemon->put.push_back(content.value_or(""));
          response.set_asset(StrCat("asset-", daemon->put.size()));
          response.set_size(daemon->put.back().size());
        } else {
          const std::string id = request.has_get_asset() ? request.get_asset().id() : request.get_pack().id();
          const auto content = daemon->contents.find(id);
          if (content == daemon->contents.end()) {
            response.set_code(static_cast<int>(absl::StatusCode::kNotFound));
            response.set_message("there is no " + id);
          } else {
            const std::string path = daemon->folder_ / ("content-" + id);
            WriteFileAtomically(path, content->second).IgnoreError();
            answer = OpenForRead(path).value();
          }
        }
        if (!SendPacket(connection.get(), response.SerializeAsString(), answer.get()).ok()) break;
      }
    }
  }
};

FakeDaemon::FakeDaemon() : service_(std::make_unique<Service>(this)) { Start(); }

FakeDaemon::~FakeDaemon() { Stop(); }

void FakeDaemon::Start() {
  server_ = std::make_unique<Server>();
  ::unlink(transfer_socket().c_str());
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, transfer_socket().c_str(), sizeof(address.sun_path) - 1);
  server_->listener.Reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  ::bind(server_->listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  ::listen(server_->listener.get(), 8);
  server_->transfer = std::thread([this] { server_->ServeTransfers(this); });
  grpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + socket(), grpc::InsecureServerCredentials());
  builder.RegisterService(service_.get());
  server_->grpc = builder.BuildAndStart();
}

void FakeDaemon::Stop() {
  if (server_ == nullptr) return;
  server_->grpc->Shutdown(std::chrono::system_clock::now());
  ::shutdown(server_->listener.get(), SHUT_RDWR);
  server_->transfer.join();
  server_.reset();
}

v1::Plugin TrimPlugin() {
  v1::Plugin plugin;
  plugin.set_name("trim");
  plugin.set_spec_type("editd.plugins.trim.v1.TrimSpec");
  plugin.set_descriptors(ReadWholeFile(EDITD_BINARY_DIR "/client/trim.descriptors").value());
  return plugin;
}

}  // namespace editd::client
