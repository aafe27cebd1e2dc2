#include "daemon/daemon.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>

#include "absl/time/clock.h"
#include "daemon/notify.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr absl::Duration kGraceOfCalls = absl::Seconds(1);  // To tell watchers why it ends.

}  // namespace

Daemon::Daemon(Config config, std::unique_ptr<Launcher> launcher)
    : config_(std::move(config)), launcher_(std::move(launcher)) {}

absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(Config config, std::unique_ptr<Launcher> launcher) {
  auto daemon = std::unique_ptr<Daemon>(new Daemon(std::move(config), std::move(launcher)));
  RETURN_IF_ERROR(daemon->StartParts());
  return daemon;
}

absl::Status Daemon::StartParts() {
  const absl::Time start = absl::Now();
  storage::StoreOptions options;
  ASSIGN_OR_RETURN(store_, storage::Store::Open(config_.state_dir, options));
  log_ = std::make_unique<EventLog>(store_.get(), &news_);
  plugins_ = std::make_unique<Plugins>(config_.plugin_dirs, launcher_.get(), &core_, store_.get());
  jobs_ = std::make_unique<Jobs>(config_, store_.get(), launcher_.get(), plugins_.get(), log_.get(), &core_,
                                 &launch_thread_, [this](const absl::Status& failure) { OnDiskFailure(failure); });
  RETURN_IF_ERROR(jobs_->Recover());
  checker_ = std::make_unique<Checker>(launcher_.get(), config_.check_timeout, config_.check_idle);
  submission_ =
      std::make_unique<Submission>(config_, &core_, store_.get(), jobs_.get(), plugins_.get(), checker_.get());
  transfer_ = std::make_unique<TransferServer>(store_.get());

  std::map<std::string, UniqueFd> handed_over = TakeListenFds();
  if (auto socket = handed_over.find("editd"); socket != handed_over.end()) {
    listener_.Adopt(std::move(socket->second));
  } else {
    RETURN_IF_ERROR(listener_.Bind(config_.socket, SOCK_STREAM));
  }
  if (auto socket = handed_over.find("transfer"); socket != handed_over.end()) {
    transfer_->listener()->Adopt(std::move(socket->second));
  } else {
    RETURN_IF_ERROR(transfer_->listener()->Bind(config_.transfer_socket, SOCK_SEQPACKET));
  }

  finished_ = false;
  core_.Start();
  launch_thread_.Start();
  service_ = std::make_unique<Service>(ServiceParts{&config_, &core_, store_.get(), jobs_.get(), &news_, plugins_.get(),
                                                    submission_.get(), [this](bool drain) { RequestEnd(drain); }});
  RETURN_IF_ERROR(service_->Start());
  RETURN_IF_ERROR(transfer_->Start());
  RETURN_IF_ERROR(listener_.Start([this](UniqueFd connection) { service_->Serve(std::move(connection)); }));
  launch_thread_.Post([this] {
    plugins_->Scan();
    core_.Post([this] { jobs_->Schedule(); });
  });
  spdlog::info("ready after {} ms: state in {}, socket {}", absl::ToInt64Milliseconds(absl::Now() - start),
               config_.state_dir, config_.socket);
  NotifyManager("READY=1\nSTATUS=ready");
  return absl::OkStatus();
}

void Daemon::RequestEnd(bool drain) {
  spdlog::info(drain ? "ends when the running jobs have ended" : "ends now");
  NotifyManager(drain ? "STOPPING=1\nSTATUS=ends when the running jobs have ended" : "STOPPING=1\nSTATUS=ends");
  service_->SetServing(false);
  core_.Post([this, drain] {
    if (drain) {
      jobs_->Drain([this] { Finish(); });
    } else {
      jobs_->KillAll([this] { Finish(); });
    }
  });
}

// What ran is settled at the next start, from what was stored.
void Daemon::OnDiskFailure(const absl::Status& failure) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_.ok()) return;
    failure_ = failure;
    if (finished_) return;  // Not serving yet, or no more.
  }
  spdlog::error("nothing can be stored any more: {}", ToStd(failure.message()));
  RequestEnd(/*drain=*/false);
}

void Daemon::Finish() {
  std::lock_guard<std::mutex> lock(mutex_);
  finished_ = true;
  changed_.notify_all();
}

absl::Status Daemon::WaitForEnd() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return finished_; });
  return failure_;
}

// What takes work in goes first; the core thread, which everything else waits for, goes last.
Daemon::~Daemon() {
  bool serves;
  absl::Status failure;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    serves = !finished_;
    failure = failure_;
  }
  if (serves) {
    core_.Post([this] { jobs_->KillAll([this] { Finish(); }); });
    WaitForEnd().IgnoreError();
  }
  listener_.Stop();
  news_.Stop(failure);
  if (service_ != nullptr) service_->Stop(kGraceOfCalls);
  if (transfer_ != nullptr) transfer_->Stop();
  launch_thread_.Stop();
  checker_.reset();
  core_.Stop();
  if (store_ != nullptr) spdlog::info("ended");
}

}  // namespace editd::daemon
