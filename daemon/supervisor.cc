#include "daemon/supervisor.h"

#include <future>

#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

// After its reply a worker has nothing left to do.
constexpr absl::Duration kExitAfterReply = absl::Seconds(5);

// Holds a worker's events back until the core thread knows of the worker.
struct Gate {
  std::promise<void> opened;
  std::shared_future<void> open = opened.get_future().share();
};

}  // namespace

Supervisor::Supervisor(SupervisorOptions options, Launcher* launcher, CoreThread* core, CoreThread* launch_thread,
                       std::shared_ptr<SupervisorObserver> observer)
    : options_(std::move(options)),
      launcher_(launcher),
      core_(core),
      launch_thread_(launch_thread),
      observer_(std::move(observer)) {
  ended_.time_limit = options_.time_limit;
  ended_.hung_after = options_.hung_after;
  ended_.memory_limit = options_.launch.memory_bytes;
}

void Supervisor::Start() {
  launch_thread_->Post([self = shared_from_this()] {
    auto start = self->options_.prepare();
    if (!start.ok()) {
      self->core_->Post([self, status = start.status()] { self->Launched(status, absl::OkStatus()); });
      return;
    }
    auto gate = std::make_shared<Gate>();
    // The sink waits until the core thread has taken each batch: what a worker says never piles up here.
    auto worker = self->launcher_->Launch(self->options_.launch, [self, gate](std::vector<WorkerEvent> events) {
      gate->open.wait();
      self->core_->Call([&] { self->Handle(std::move(events)); });
    });
    const absl::Status sent = [&] {
      if (!worker.ok()) return absl::OkStatus();
      std::vector<int> descriptors;
      for (const UniqueFd& fd : start->descriptors) descriptors.push_back(fd.get());
      return (*worker)->Send(start->message, descriptors);
    }();
    auto shared = std::make_shared<absl::StatusOr<std::unique_ptr<Worker>>>(std::move(worker));
    self->core_->Post([self, shared, sent] { self->Launched(std::move(*shared), sent); });
    gate->opened.set_value();
  });
}

void Supervisor::Launched(absl::StatusOr<std::unique_ptr<Worker>> worker, absl::Status sent) {
  if (!worker.ok()) {
    over_ = true;
    std::exchange(observer_, nullptr)->OnLaunchFailed(worker.status());
    return;
  }
  worker_ = *std::move(worker);
  last_sign_ = std::chrono::steady_clock::now();
  observer_->OnStarted(worker_->pid());
  if (ended_.why == Ending::kShutdown) {
    Destroy();
  } else if (ended_.why == Ending::kCancelled) {
    Terminate();  // It was cancelled before it was there.
    After(options_.grace, &Supervisor::Destroy);
  } else if (!sent.ok()) {
    Destroy();  // It does not read. If it died meanwhile, how it died says more.
  } else {
    After(options_.time_limit, &Supervisor::CheckTime);
    After(options_.hung_after / 4, &Supervisor::CheckLife);
  }
}

void Supervisor::After(absl::Duration delay, void (Supervisor::*step)()) {
  core_->PostAfter(delay, [weak = weak_from_this(), step] {
    const std::shared_ptr<Supervisor> self = weak.lock();
    if (self != nullptr && !self->over_) ((*self).*step)();
  });
}

void Supervisor::CheckTime() { End(Ending::kTimedOut, options_.grace); }

void Supervisor::CheckLife() {
  if (absl::FromChrono(std::chrono::steady_clock::now() - last_sign_) > options_.hung_after)
    End(Ending::kHung, absl::ZeroDuration());
  After(options_.hung_after / 4, &Supervisor::CheckLife);
}

void Supervisor::End(Ending why, absl::Duration grace) {
  if (over_) return;
  // The first reason stands, but the daemon's end comes before all.
  if (ended_.why == Ending::kByItself || why == Ending::kShutdown) ended_.why = why;
  if (worker_ == nullptr) return;  // Launched will see it.
  if (grace == absl::ZeroDuration()) {
    Destroy();
    return;
  }
  v1::ToWorker stop;
  stop.mutable_stop();
  worker_->Send(stop, {}).IgnoreError();
  After(grace / 2, &Supervisor::Terminate);
  After(grace, &Supervisor::Destroy);
}

void Supervisor::Handle(std::vector<WorkerEvent> events) {
  if (over_) return;
  last_sign_ = std::chrono::steady_clock::now();
  std::vector<WorkerEvent> passed_on;
  const WorkerExit* exit = nullptr;
  bool replied = false;
  for (WorkerEvent& event : events) {
    if (const auto* end = std::get_if<WorkerExit>(&event)) {
      exit = end;
    } else if (auto* frame = std::get_if<v1::FromWorker>(&event)) {
      if (frame->has_run() && !ended_.reply.has_value()) {
        ended_.reply = std::move(*frame->mutable_run());
        replied = true;
      } else {
        passed_on.push_back(std::move(event));
      }
    } else {
      passed_on.push_back(std::move(event));
    }
  }
  if (!passed_on.empty()) observer_->OnEvents(passed_on);
  if (replied) {
    if (!ended_.reply->has_error()) observer_->OnReply();
    After(kExitAfterReply, &Supervisor::Destroy);
  }
  if (exit != nullptr) Finish(*exit);
}

void Supervisor::Finish(const WorkerExit& exit) {
  over_ = true;
  ended_.exit = exit;
  // The worker's thread waits for this very task; so the worker goes in a later one.
  core_->Post([worker = std::shared_ptr<Worker>(std::move(worker_))] {});
  std::exchange(observer_, nullptr)->OnEnd(std::move(ended_));
}

}  // namespace editd::daemon
