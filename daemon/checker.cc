#include "daemon/checker.h"

#include <algorithm>
#include <vector>

#include "storage/base/strings.h"

namespace editd::daemon {

Checker::Checker(Launcher* launcher, absl::Duration timeout, absl::Duration idle)
    : launcher_(launcher), timeout_(timeout), idle_(idle) {
  reaper_ = std::thread([this] { EndIdle(); });
}

Checker::~Checker() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  stopped_.notify_all();
  reaper_.join();
}

std::shared_ptr<Checker::Warmed> Checker::Find(const std::string& plugin_hash) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<Warmed>& warmed = workers_[plugin_hash];
  if (warmed == nullptr) warmed = std::make_shared<Warmed>(launcher_);
  return warmed;
}

absl::StatusOr<v1::CheckReply> Checker::Check(const v1::CheckRequest& request) {
  const std::shared_ptr<Warmed> warmed = Find(request.plugin_hash());
  v1::ToWorker message;
  *message.mutable_check() = request;
  std::lock_guard<std::mutex> lock(warmed->mutex);
  warmed->last_used = std::chrono::steady_clock::now();
  absl::StatusOr<v1::FromWorker> reply = warmed->client.Call(message, timeout_);
  // That a worker was killed is no fault of this spec; if it is, the second one dies as well.
  if (!reply.ok() && reply.status().code() == absl::StatusCode::kUnavailable) {
    reply = warmed->client.Call(message, timeout_);
  }
  if (!reply.ok()) return Annotate(reply.status(), "the plugin's check failed");
  if (!reply->has_check()) {
    warmed->client.Reset();
    return absl::InternalError("the plugin's check failed: the worker answered another question");
  }
  const v1::WorkerError& error = reply->check().error();
  if (reply->check().has_error()) {
    return absl::Status(static_cast<absl::StatusCode>(error.code() == 0 ? 2 : error.code()),
                        StrCat("the plugin's check failed: ", error.message()));
  }
  return std::move(*reply->mutable_check());
}

void Checker::Warm(const std::string& plugin_path, const std::string& plugin_hash) {
  v1::ToWorker message;
  message.mutable_describe()->set_plugin_path(plugin_path);
  const std::shared_ptr<Warmed> warmed = Find(plugin_hash);
  std::lock_guard<std::mutex> lock(warmed->mutex);
  warmed->last_used = std::chrono::steady_clock::now();
  if (!warmed->client.running()) warmed->client.Call(message, timeout_).status().IgnoreError();
}

void Checker::EndIdle() {
  const auto pause = absl::ToChronoNanoseconds(std::max(idle_ / 4, absl::Milliseconds(10)));
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopped_.wait_for(lock, pause, [this] { return stop_; })) {
    const auto before = std::chrono::steady_clock::now() - absl::ToChronoNanoseconds(idle_);
    std::vector<std::shared_ptr<Warmed>> workers;
    for (const auto& [hash, warmed] : workers_) workers.push_back(warmed);
    lock.unlock();
    for (const std::shared_ptr<Warmed>& warmed : workers) {
      std::unique_lock<std::mutex> busy(warmed->mutex, std::try_to_lock);
      if (busy.owns_lock() && warmed->last_used < before) warmed->client.Reset();
    }
    lock.lock();
  }
}

}  // namespace editd::daemon
