#include "daemon/worker_client.h"

#include "daemon/exits.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr int kMaxLines = 1000;  // Of one worker's, in the daemon's log.

}  // namespace

absl::StatusOr<v1::FromWorker> WorkerClient::Call(const v1::ToWorker& request, absl::Duration timeout) {
  if (worker_ != nullptr) {
    std::unique_lock<std::mutex> lock(answer_->mutex);
    const bool died = answer_->exit.has_value();  // Since the last call.
    lock.unlock();
    if (died) worker_.reset();
  }
  if (worker_ == nullptr) {
    answer_ = std::make_shared<Answer>();
    ASSIGN_OR_RETURN(worker_,
                     launcher_->Launch({}, [answer = answer_, plugin = plugin_](std::vector<WorkerEvent> events) {
                       std::lock_guard<std::mutex> lock(answer->mutex);
                       for (WorkerEvent& event : events) {
                         if (auto* exit = std::get_if<WorkerExit>(&event)) {
                           answer->exit = *exit;
                         } else if (auto* line = std::get_if<OutputLine>(&event)) {
                           answer->last_line = line->text;
                           if (++answer->lines <= kMaxLines)
                             spdlog::info("plugin {} wrote while it was asked: {}", plugin, line->text);
                         } else if (auto& frame = std::get<v1::FromWorker>(event);
                                    frame.has_describe() || frame.has_check() || frame.has_run()) {
                           answer->reply = std::move(frame);
                         }
                       }
                       answer->changed.notify_all();
                     }));
  }
  const absl::Status sent = worker_->Send(request, {});
  std::unique_lock<std::mutex> lock(answer_->mutex);
  if (sent.ok() || sent.code() == absl::StatusCode::kUnavailable) {
    answer_->changed.wait_for(lock, absl::ToChronoNanoseconds(timeout),
                              [&] { return answer_->reply.has_value() || answer_->exit.has_value(); });
  }
  if (answer_->reply.has_value()) {
    v1::FromWorker reply = *std::move(answer_->reply);
    answer_->reply.reset();
    return reply;
  }
  absl::Status status = sent;
  if (answer_->exit.has_value()) {
    Ended ended;
    ended.exit = *answer_->exit;
    const std::string said = answer_->last_line.empty() ? "" : StrCat("; it wrote: ", answer_->last_line);
    status = absl::UnavailableError(StrCat(Classify(ended).message, said));
  } else if (sent.ok()) {
    status = absl::DeadlineExceededError(StrCat("the worker did not answer within ", DurationText(timeout)));
  }
  lock.unlock();
  worker_.reset();
  return status;
}

}  // namespace editd::daemon
