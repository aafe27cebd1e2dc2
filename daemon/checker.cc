#include "daemon/checker.h"

#include <algorithm>
#include <vector>

#include "daemon/exits.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

// The plugin's code, unless it says what only a daemon says of itself, or is none.
absl::StatusCode CodeOf(const v1::WorkerError& error) {
  const auto code = static_cast<absl::StatusCode>(error.code());
  const bool known = error.code() > 0 && error.code() <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  const bool ours = code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kDeadlineExceeded;
  return known && !ours ? code : absl::StatusCode::kUnknown;
}

}  // namespace

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

std::shared_ptr<Checker::Warmed> Checker::Find(const std::string& name, const std::string& hash) {
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<Warmed>& warmed = workers_[hash];
  if (warmed == nullptr) warmed = std::make_shared<Warmed>(launcher_, name);
  return warmed;
}

absl::StatusOr<v1::CheckReply> Checker::Check(const std::string& name, const v1::CheckRequest& request) {
  const std::shared_ptr<Warmed> warmed = Find(name, request.plugin_hash());
  v1::ToWorker message;
  *message.mutable_check() = request;
  std::lock_guard<std::mutex> lock(warmed->mutex);
  warmed->last_used = std::chrono::steady_clock::now();
  absl::StatusOr<v1::FromWorker> reply = warmed->client.Call(message, timeout_);
  // That a worker was killed is no fault of this spec; if it is, the second one dies as well.
  if (absl::IsUnavailable(reply.status())) reply = warmed->client.Call(message, timeout_);
  if (absl::IsUnavailable(reply.status())) {
    return absl::InternalError(StrCat("plugin \"", name, "\": its check crashed: ", reply.status().message(),
                                      "; a fault of the plugin, the daemon goes on; all that the plugin wrote is in ",
                                      "the daemon's log"));
  }
  if (absl::IsDeadlineExceeded(reply.status())) {
    return absl::InternalError(StrCat("plugin \"", name, "\": its check gave no answer within ", DurationText(timeout_),
                                      " and was ended; what the plugin wrote is in the daemon's log; a slow one needs ",
                                      "a longer check_timeout in editd.conf"));
  }
  if (!reply.ok()) return Annotate(reply.status(), StrCat("plugin \"", name, "\": its check failed"));
  if (!reply->has_check()) {
    warmed->client.Reset();
    return absl::InternalError(StrCat("plugin \"", name, "\": its worker answered another question"));
  }
  if (reply->check().has_error()) {
    const v1::WorkerError& error = reply->check().error();
    return absl::Status(CodeOf(error), StrCat("plugin \"", name, "\": its check failed: ", error.message()));
  }
  return std::move(*reply->mutable_check());
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
