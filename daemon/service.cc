#include "daemon/service.h"

#include <fcntl.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_posix.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <chrono>

#include "absl/time/clock.h"
#include "editd/v1/service.grpc.pb.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr int kMaxThreads = 256;  // Each watch holds one.
constexpr size_t kEventsAtOnce = 256;
constexpr absl::Duration kLookForCancel = absl::Milliseconds(500);

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace

class Service::Rpcs final : public v1::Editor::Service {
 public:
  explicit Rpcs(ServiceParts parts) : parts_(std::move(parts)) {}

  absl::Status Start() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    grpc::ResourceQuota quota("editd");
    quota.SetMaxThreads(kMaxThreads);
    builder.SetResourceQuota(quota);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) return absl::InternalError("gRPC did not start");
    SetServing(true);
    return absl::OkStatus();
  }

  void Serve(UniqueFd connection) {
    absl::StatusOr<UniqueFd> known = peers_.Add(std::move(connection));
    if (!known.ok()) {
      spdlog::warn("a connection was refused: {}", ToStd(known.status().message()));
      return;
    }
    // Without this gRPC blocks in reads, and its shutdown takes many seconds.
    ::fcntl(known->get(), F_SETFL, ::fcntl(known->get(), F_GETFL) | O_NONBLOCK);
    grpc::AddInsecureChannelFromFd(server_.get(), known->Release());
  }

  void SetServing(bool serving) { server_->GetHealthCheckService()->SetServingStatus(serving); }

  void Stop(absl::Duration grace) {
    if (server_ == nullptr) return;
    server_->GetHealthCheckService()->Shutdown();
    server_->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(grace));
    server_->Wait();
    server_.reset();
  }

  // --- jobs ---------------------------------------------------------------------------------------------------------

  grpc::Status Submit(grpc::ServerContext* context, const v1::SubmitRequest* request,
                      v1::SubmitResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_job(), parts_.submission->Submit(*request, peer));
      return absl::OkStatus();
    });
  }

  grpc::Status Validate(grpc::ServerContext* context, const v1::ValidateRequest* request,
                        v1::ValidateResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) -> absl::Status {
      ASSIGN_OR_RETURN(*response, parts_.submission->Validate(*request, peer));
      return absl::OkStatus();
    });
  }

  grpc::Status GetJob(grpc::ServerContext*, const v1::GetJobRequest* request, v1::GetJobResponse* response) override {
    return OnCore([&]() -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_job(), parts_.jobs->Get(request->id()));
      ASSIGN_OR_RETURN(const std::vector<std::string> why, parts_.jobs->Why(request->id()));
      response->mutable_why()->Assign(why.begin(), why.end());
      return absl::OkStatus();
    });
  }

  grpc::Status ListJobs(grpc::ServerContext*, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    return OnCore([&] {
      for (v1::Job& job : parts_.jobs->List(request->active_only(), request->limit())) {
        *response->add_jobs() = std::move(job);
      }
      return absl::OkStatus();
    });
  }

  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::CancelJobResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) {
      return parts_.core->Call([&]() -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(), parts_.jobs->Cancel(request->id(), peer.user));
        return absl::OkStatus();
      });
    });
  }

  grpc::Status RetryJob(grpc::ServerContext* context, const v1::RetryJobRequest* request,
                        v1::RetryJobResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) {
      return parts_.core->Call([&]() -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_job(), parts_.jobs->Retry(request->id(), peer.user));
        return absl::OkStatus();
      });
    });
  }

  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::WatchJobResponse>* writer) override {
    uint64_t next = std::max<uint64_t>(1, request->from_seq());
    for (;;) {
      bool over = false;  // Nothing can follow what was read.
      const auto events = parts_.core->Call([&]() -> absl::StatusOr<std::vector<v1::Event>> {
        ASSIGN_OR_RETURN(const v1::Job job, parts_.jobs->Get(request->id()));
        ASSIGN_OR_RETURN(std::vector<v1::Event> read, parts_.store->ReadEvents(request->id(), next, kEventsAtOnce));
        over = (HasEnded(job.state()) || !request->follow()) && read.size() < kEventsAtOnce;
        return read;
      });
      if (!events.ok()) return ToGrpc(events.status());
      for (const v1::Event& event : *events) {
        // An event whose write has still to succeed leaves a gap; it is waited for.
        if (event.seq() != next) {
          over = false;
          break;
        }
        v1::WatchJobResponse response;
        *response.mutable_event() = event;
        if (!writer->Write(response)) return grpc::Status::CANCELLED;
        ++next;
      }
      if (over) return grpc::Status::OK;
      if (context->IsCancelled()) return grpc::Status::CANCELLED;
      if (!parts_.news->Wait(request->id(), next - 1, kLookForCancel)) {
        const absl::Status why = parts_.news->why();
        if (why.ok()) return {grpc::StatusCode::UNAVAILABLE, "the daemon is about to end; watch again later"};
        return {grpc::StatusCode::ABORTED,
                StrCat("the daemon ended, because nothing can be stored any more: ", why.message(), "; job ",
                       request->id(), " is stored and goes on when a daemon starts")};
      }
    }
  }

  // --- models -------------------------------------------------------------------------------------------------------

  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override {
    return OnCore([&]() -> absl::Status {
      for (v1::Ref& ref : parts_.store->ListRefs()) {
        v1::Model* model = response->add_models();
        ASSIGN_OR_RETURN(const Id id, Id::FromHex(ref.version()));
        ASSIGN_OR_RETURN(*model->mutable_version(), parts_.store->GetVersion(id, false));
        *model->mutable_ref() = std::move(ref);
      }
      return absl::OkStatus();
    });
  }

  grpc::Status GetVersion(grpc::ServerContext*, const v1::GetVersionRequest* request,
                          v1::GetVersionResponse* response) override {
    // A version may have many thousand tensors: they are read here, while the core thread goes on.
    std::vector<v1::Ref> refs;
    const auto id = parts_.core->Call([&]() -> absl::StatusOr<Id> {
      refs = parts_.store->ListRefs();
      return parts_.store->Resolve(request->name());
    });
    if (!id.ok()) return ToGrpc(id.status());
    auto version = parts_.store->ReadVersion(*id, true);
    if (absl::IsFailedPrecondition(version.status())) version = parts_.store->ReadVersion(*id, false);  // A tombstone.
    if (!version.ok()) return ToGrpc(version.status());
    *response->mutable_version() = *std::move(version);
    for (const v1::Ref& ref : refs) {
      if (ref.version() == response->version().id()) response->mutable_version()->add_refs(ref.name());
    }
    return grpc::Status::OK;
  }

  grpc::Status GetLineage(grpc::ServerContext*, const v1::GetLineageRequest* request,
                          v1::GetLineageResponse* response) override {
    return OnCore([&]() -> absl::Status {
      ASSIGN_OR_RETURN(const Id id, parts_.store->Resolve(request->name()));
      ASSIGN_OR_RETURN(*response->add_versions(), parts_.store->GetVersion(id, false));
      for (const Id& ancestor : parts_.store->Ancestors(id)) {
        ASSIGN_OR_RETURN(*response->add_versions(), parts_.store->GetVersion(ancestor, false));
      }
      return absl::OkStatus();
    });
  }

  grpc::Status ListDescendants(grpc::ServerContext*, const v1::ListDescendantsRequest* request,
                               v1::ListDescendantsResponse* response) override {
    return OnCore([&]() -> absl::Status {
      ASSIGN_OR_RETURN(const Id id, parts_.store->Resolve(request->name()));
      for (const Id& descendant : parts_.store->Descendants(id)) {
        ASSIGN_OR_RETURN(*response->add_versions(), parts_.store->GetVersion(descendant, false));
      }
      return absl::OkStatus();
    });
  }

  grpc::Status MoveRef(grpc::ServerContext* context, const v1::MoveRefRequest* request,
                       v1::MoveRefResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) {
      return parts_.core->Call([&]() -> absl::Status {
        RETURN_IF_ERROR(storage::Store::CheckRefName(request->name()));
        Id next;
        if (!request->to().empty()) {
          ASSIGN_OR_RETURN(next, parts_.store->Resolve(request->to()));
        }
        std::optional<Id> expected;
        if (!request->any_expected()) {
          expected.emplace();
          if (!request->expected().empty()) {
            ASSIGN_OR_RETURN(*expected, Id::FromHex(request->expected()));
          }
        }
        ASSIGN_OR_RETURN(*response->mutable_ref(),
                         parts_.store->MoveRef(request->name(), expected, next, {peer.user, 0, request->message()}));
        spdlog::info("{} moves {} to {}", peer.user, request->name(), next.empty() ? "nothing" : next.Hex());
        return absl::OkStatus();
      });
    });
  }

  grpc::Status GetReflog(grpc::ServerContext*, const v1::GetReflogRequest* request,
                         v1::GetReflogResponse* response) override {
    return OnCore([&] {
      for (v1::RefMove& move : parts_.store->Reflog(request->name())) *response->add_moves() = std::move(move);
      return absl::OkStatus();
    });
  }

  // --- datasets -----------------------------------------------------------------------------------------------------

  grpc::Status AddDataset(grpc::ServerContext* context, const v1::AddDatasetRequest* request,
                          v1::AddDatasetResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) {
      return parts_.core->Call([&]() -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_dataset(), parts_.store->AddDataset(request->dataset(), peer.user));
        spdlog::info("{} adds dataset {}", peer.user, request->dataset().name());
        return absl::OkStatus();
      });
    });
  }

  grpc::Status GetDataset(grpc::ServerContext*, const v1::GetDatasetRequest* request,
                          v1::GetDatasetResponse* response) override {
    return OnCore([&]() -> absl::Status {
      ASSIGN_OR_RETURN(*response->mutable_dataset(), parts_.store->FindDataset(request->name()));
      return absl::OkStatus();
    });
  }

  grpc::Status ListDatasets(grpc::ServerContext*, const v1::ListDatasetsRequest*,
                            v1::ListDatasetsResponse* response) override {
    return OnCore([&] {
      for (v1::Dataset& dataset : parts_.store->ListDatasets()) *response->add_datasets() = std::move(dataset);
      return absl::OkStatus();
    });
  }

  grpc::Status RemoveDataset(grpc::ServerContext* context, const v1::RemoveDatasetRequest* request,
                             v1::RemoveDatasetResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) {
      return parts_.core->Call([&]() -> absl::Status {
        ASSIGN_OR_RETURN(*response->mutable_dataset(), parts_.store->RemoveDataset(request->name()));
        spdlog::info("{} removes dataset {}", peer.user, request->name());
        return absl::OkStatus();
      });
    });
  }

  grpc::Status ListMeasurements(grpc::ServerContext*, const v1::ListMeasurementsRequest* request,
                                v1::ListMeasurementsResponse* response) override {
    return OnCore([&]() -> absl::Status {
      std::vector<storage::Measurement> found;
      for (const std::string& version : request->versions()) {
        ASSIGN_OR_RETURN(const Id id, Id::FromHex(version));
        ASSIGN_OR_RETURN(const std::vector<storage::Measurement> of_version, parts_.store->MeasurementsOf(id));
        found.insert(found.end(), of_version.begin(), of_version.end());
      }
      for (const storage::Measurement& measurement : found) {
        v1::Measurement* const out = response->add_measurements();
        out->set_version(measurement.version.Hex());
        out->set_data(measurement.data.Hex());
        out->set_job(measurement.job);
        out->set_input(measurement.input);
        if (!request->with_jobs()) continue;
        ASSIGN_OR_RETURN(*out->mutable_details(), parts_.jobs->Get(measurement.job));
      }
      return absl::OkStatus();
    });
  }

  // --- plugins ------------------------------------------------------------------------------------------------------

  grpc::Status ListPlugins(grpc::ServerContext*, const v1::ListPluginsRequest*,
                           v1::ListPluginsResponse* response) override {
    parts_.plugins->Scan();
    for (v1::Plugin& plugin : parts_.plugins->List()) {
      plugin.clear_descriptors();
      plugin.clear_example();
      *response->add_plugins() = std::move(plugin);
    }
    return grpc::Status::OK;
  }

  grpc::Status GetPlugin(grpc::ServerContext*, const v1::GetPluginRequest* request,
                         v1::GetPluginResponse* response) override {
    parts_.plugins->Scan();
    const auto known = parts_.plugins->Find(request->name());
    if (!known.ok()) return ToGrpc(known.status());
    *response->mutable_plugin() = known->plugin;
    return grpc::Status::OK;
  }

  // --- upkeep -------------------------------------------------------------------------------------------------------

  grpc::Status CollectGarbage(grpc::ServerContext* context, const v1::CollectGarbageRequest* request,
                              v1::CollectGarbageResponse* response) override {
    return WithPeer(context, [&](const Peer& peer) -> absl::Status {
      storage::GarbageOptions options;
      options.dry_run = request->dry_run();
      options.grace = parts_.config->gc_grace;
      if (request->grace_set() || request->grace_seconds() > 0) options.grace = absl::Seconds(request->grace_seconds());
      // The long parts run here, the core thread takes short steps in between other work.
      auto collection = parts_.core->Call([&] { return parts_.store->StartGarbageCollection(options); });
      RETURN_IF_ERROR(collection.status());
      const absl::Status status = [&]() -> absl::Status {
        RETURN_IF_ERROR((*collection)->Find([context] { return context->IsCancelled(); }));
        for (bool done = options.dry_run; !done;) {
          ASSIGN_OR_RETURN(done, parts_.core->Call([&] { return (*collection)->Sweep(); }));
          (*collection)->RemoveFiles();
        }
        for (const storage::GarbageItem& item : (*collection)->Items()) {
          if (item.stays) continue;
          v1::Garbage* garbage = response->add_garbage();
          garbage->set_kind(KindOf(item.kind));
          garbage->set_id(item.id);
          garbage->set_bytes(item.bytes);
          garbage->set_reason(item.reason);
          response->set_bytes(response->bytes() + item.bytes);
        }
        return absl::OkStatus();
      }();
      parts_.core->Call([&] { collection->reset(); });
      RETURN_IF_ERROR(status);
      if (!options.dry_run) spdlog::info("{} collects garbage: {} bytes", peer.user, response->bytes());
      return absl::OkStatus();
    });
  }

  grpc::Status ExplainAlive(grpc::ServerContext*, const v1::ExplainAliveRequest* request,
                            v1::ExplainAliveResponse* response) override {
    return OnCore([&]() -> absl::Status {
      ASSIGN_OR_RETURN(const std::vector<std::string> reasons, parts_.store->WhyAlive(request->name()));
      response->mutable_reasons()->Assign(reasons.begin(), reasons.end());
      return absl::OkStatus();
    });
  }

  grpc::Status VerifyStore(grpc::ServerContext* context, const v1::VerifyStoreRequest*,
                           grpc::ServerWriter<v1::VerifyStoreResponse>* writer) override {
    auto verification = parts_.core->Call([&] { return parts_.store->StartVerify(); });
    if (!verification.ok()) return ToGrpc(verification.status());
    const auto write = [&](const storage::VerifyProgress& progress, bool done) {
      v1::VerifyStoreResponse response;
      response.set_finding(progress.finding);
      response.set_bytes_done(progress.bytes_done);
      response.set_bytes_total(progress.bytes_total);
      response.set_packs(progress.packs);
      response.set_assets(progress.assets);
      response.set_versions(progress.versions);
      response.set_findings(progress.findings);
      response.set_done(done);
      return !context->IsCancelled() && writer->Write(response);
    };
    const auto result =
        (*verification)->Run([&](const storage::VerifyProgress& progress) { return write(progress, false); });
    if (!result.ok()) return ToGrpc(result.status());
    write(*result, true);
    return grpc::Status::OK;
  }

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*, v1::GetStatusResponse* response) override {
    return OnCore([&] {
      const storage::StoreStats stats = parts_.store->Stats();
      response->set_pid(::getpid());
      response->set_version(EDITD_VERSION);
      response->set_state_dir(parts_.config->state_dir);
      response->set_socket(parts_.config->socket);
      response->set_transfer_socket(parts_.config->transfer_socket);
      response->set_uptime_seconds(static_cast<uint64_t>(absl::ToInt64Seconds(absl::Now() - started_)));
      response->set_pending(static_cast<uint32_t>(parts_.jobs->pending()));
      response->set_running(static_cast<uint32_t>(parts_.jobs->running()));
      response->set_draining(parts_.jobs->draining());
      response->set_versions(stats.versions);
      response->set_store_bytes(stats.pack_bytes + stats.asset_bytes);
      struct statvfs disk = {};
      if (::statvfs(parts_.config->state_dir.c_str(), &disk) == 0) {
        response->set_disk_free_bytes(uint64_t{disk.f_bavail} * disk.f_frsize);
      }
      return absl::OkStatus();
    });
  }

  grpc::Status Shutdown(grpc::ServerContext* context, const v1::ShutdownRequest* request,
                        v1::ShutdownResponse*) override {
    return WithPeer(context, [&](const Peer& peer) {
      spdlog::info("{} asks the daemon to end{}", peer.user, request->drain() ? " when its jobs have ended" : "");
      parts_.shutdown(request->drain());
      return absl::OkStatus();
    });
  }

 private:
  static v1::Garbage::Kind KindOf(storage::GarbageKind kind) {
    switch (kind) {
      case storage::GarbageKind::kVersion:
        return v1::Garbage::KIND_VERSION;
      case storage::GarbageKind::kPack:
        return v1::Garbage::KIND_PACK;
      case storage::GarbageKind::kAsset:
        return v1::Garbage::KIND_ASSET;
      case storage::GarbageKind::kOrphan:
        return v1::Garbage::KIND_ORPHAN;
      case storage::GarbageKind::kCheckpoint:
        return v1::Garbage::KIND_CHECKPOINT;
    }
    return v1::Garbage::KIND_UNSPECIFIED;
  }

  template <typename F>
  grpc::Status OnCore(F f) {
    return ToGrpc(parts_.core->Call([&f]() -> absl::Status { return f(); }));
  }

  template <typename F>
  grpc::Status WithPeer(grpc::ServerContext* context, F f) {
    const auto peer = peers_.Find(context->peer());
    if (!peer.ok()) return ToGrpc(peer.status());
    return ToGrpc(f(*peer));
  }

  const ServiceParts parts_;
  const absl::Time started_ = absl::Now();
  Peers peers_;
  std::unique_ptr<grpc::Server> server_;
};

Service::Service(ServiceParts parts) : rpcs_(std::make_unique<Rpcs>(std::move(parts))) {}
Service::~Service() = default;
absl::Status Service::Start() { return rpcs_->Start(); }
void Service::Serve(UniqueFd connection) { rpcs_->Serve(std::move(connection)); }
void Service::SetServing(bool serving) { rpcs_->SetServing(serving); }
void Service::Stop(absl::Duration grace) { rpcs_->Stop(grace); }

}  // namespace editd::daemon
