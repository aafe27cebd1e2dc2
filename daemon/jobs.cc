#include "daemon/jobs.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "daemon/publication.h"
#include "daemon/scheduler.h"
#include "daemon/times.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr absl::Duration kSaveAgain = absl::Seconds(1);
constexpr absl::Duration kLookAgain = absl::Seconds(5);  // At disk and plugin files, while a job waits for them.
constexpr uint64_t kUnknownMemory = 256'000'000;         // Reserved for a plugin that estimates nothing.

bool Runs(v1::JobState state) {
  return state == v1::JOB_STATE_STARTING || state == v1::JOB_STATE_RUNNING || state == v1::JOB_STATE_COMMITTING;
}

std::string StateName(v1::JobState state) {
  return v1::JobState_Name(state).substr(std::string_view("JOB_STATE_").size());
}

v1::Attempt* LastAttempt(v1::Job* job) {
  return job->attempts_size() == 0 ? nullptr : job->mutable_attempts(job->attempts_size() - 1);
}

uint64_t MemoryOf(const v1::Job& job) {
  const uint64_t estimate = job.estimate_memory_bytes() > 0 ? job.estimate_memory_bytes() : kUnknownMemory;
  return std::min(estimate, job.spec().limits().memory_bytes());
}

}  // namespace

bool HasEnded(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED || state == v1::JOB_STATE_CANCELLED;
}

// Passes what a supervisor tells on to the job.
class Jobs::Attempt : public SupervisorObserver {
 public:
  Attempt(Jobs* jobs, uint64_t id) : jobs_(jobs), id_(id) {}
  void OnLaunchFailed(const absl::Status& status) override { jobs_->OnLaunchFailed(id_, status); }
  void OnStarted(pid_t pid) override { jobs_->OnStarted(id_, pid); }
  void OnEvents(const std::vector<WorkerEvent>& events) override { jobs_->OnEvents(id_, events); }
  void OnReply() override {
    Entry& entry = jobs_->entries_.at(id_);
    if (!entry.job.cancel_requested()) jobs_->Step(&entry, v1::JOB_STATE_COMMITTING).IgnoreError();
  }
  void OnEnd(Ended ended) override { jobs_->OnEnd(id_, std::move(ended)); }

 private:
  Jobs* const jobs_;
  const uint64_t id_;
};

Jobs::Jobs(const Config& config, storage::Store* store, Launcher* launcher, const Plugins* plugins, EventLog* log,
           CoreThread* core, CoreThread* launch_thread, DiskFailure on_disk_failure)
    : config_(config),
      store_(store),
      launcher_(launcher),
      plugins_(plugins),
      log_(log),
      core_(core),
      launch_thread_(launch_thread),
      on_disk_failure_(std::move(on_disk_failure)) {}

Jobs::~Jobs() = default;

// --- what clients ask for -------------------------------------------------------------------------------------------

absl::Status Jobs::Recover() {
  ASSIGN_OR_RETURN(std::vector<v1::Job> jobs, store_->LoadJobs());
  for (v1::Job& job : jobs) {
    const uint64_t id = job.id();
    Entry& entry = entries_[id];
    entry.job = std::move(job);
    if (entry.job.state() == v1::JOB_STATE_SUCCEEDED && entry.job.output_version().empty()) {
      recipes_[entry.job.recipe()] = id;
    }
    if (Runs(entry.job.state())) {
      spdlog::warn("job {}: was {} when the daemon ended", id, StateName(entry.job.state()));
      EndAttempt(&entry, entry.job.cancel_requested() ? v1::EXIT_CLASS_CANCELLED : v1::EXIT_CLASS_INTERRUPTED,
                 entry.job.cancel_requested() ? "cancelled" : "the daemon ended while the job ran");
    }
  }
  return absl::OkStatus();
}

const v1::Job* Jobs::FindRequest(const std::string& request_id) const {
  if (request_id.empty()) return nullptr;
  const auto id = store_->FindRequest(request_id);
  if (!id.has_value()) return nullptr;
  const auto found = entries_.find(*id);
  return found == entries_.end() ? nullptr : &found->second.job;
}

absl::StatusOr<v1::Job> Jobs::Admit(v1::Job job) {
  if (const v1::Job* const earlier = FindRequest(job.request_id())) return *earlier;
  if (draining_) return absl::UnavailableError("the daemon is about to end and takes no jobs");
  job.set_id(store_->NextJobId());
  *job.mutable_submitted() = Timestamp(absl::Now());
  if (!job.spec().output().ref().empty()) {
    const auto ref = store_->FindRef(job.spec().output().ref());
    job.set_output_ref_expected(ref.has_value() ? ref->version() : "");
  }
  ASSIGN_OR_RETURN(const bool known, AnswerFromStore(&job));
  if (!known) {
    job.set_state(v1::JOB_STATE_PENDING);
    job.set_reason(v1::PENDING_REASON_PRIORITY);
  }
  v1::Event event = StateEvent(log_->Next(job.id()), v1::JOB_STATE_UNSPECIFIED, job);
  if (known) event.mutable_state()->set_message("the same edit was made before; its result is used");
  const absl::Status stored = store_->PutJob(job, std::vector<v1::Event>{event});
  if (!stored.ok()) {
    log_->Forget(job.id());
    return Annotate(stored, "the job was not stored");
  }
  log_->Announce(job.id());
  spdlog::info("job {}: submitted by {}: {} -> {}", job.id(), job.user(), job.spec().plugin(), StateName(job.state()));
  const uint64_t id = job.id();
  entries_[id].job = std::move(job);
  if (!known) core_->Post([this] { Schedule(); });  // The answer goes first.
  return entries_[id].job;
}

// If the recipe's result is in the store, the job ends with it, and its ref moves.
absl::StatusOr<bool> Jobs::AnswerFromStore(v1::Job* job) {
  if (job->force()) return false;
  if (job->spec().output().ref().empty()) {
    const auto found = recipes_.find(job->recipe());
    if (found == recipes_.end()) return false;
    const v1::Job& earlier = entries_.at(found->second).job;
    for (const v1::FileEntry& file : earlier.exported()) {
      ASSIGN_OR_RETURN(const Id asset, Id::FromHex(file.asset()));
      if (!store_->HasAsset(asset)) return false;
    }
    *job->mutable_exported() = earlier.exported();
    if (earlier.has_result()) *job->mutable_result() = earlier.result();
  } else {
    ASSIGN_OR_RETURN(const Id recipe, Id::FromHex(job->recipe()));
    const auto version = store_->FindRecipe(recipe);
    if (!version.has_value()) return false;
    if (job->output_ref_expected() != version->Hex()) {
      // First the ref: a crash in between leaves a ref that the same submit, sent again, finds in place.
      RETURN_IF_ERROR(store_
                          ->MoveRef(job->spec().output().ref(), std::nullopt, *version,
                                    {job->user(), job->id(), "the same edit was made before"})
                          .status());
    }
    job->set_output_version(version->Hex());
    for (const auto& [id, entry] : entries_) {  // The plugin's word on the result is in the job that made it.
      if (entry.job.output_version() == version->Hex() && entry.job.recipe() == job->recipe() &&
          entry.job.has_result()) {
        *job->mutable_result() = entry.job.result();
        break;
      }
    }
  }
  job->set_state(v1::JOB_STATE_SUCCEEDED);
  job->set_from_recipe(true);
  job->clear_reason();
  *job->mutable_ended() = Timestamp(absl::Now());
  return true;
}

absl::StatusOr<Jobs::Entry*> Jobs::Find(uint64_t id) {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return absl::NotFoundError(StrCat("there is no job ", id));
  return &found->second;
}

absl::StatusOr<v1::Job> Jobs::Cancel(uint64_t id, const std::string& user) {
  ASSIGN_OR_RETURN(Entry * entry, Find(id));
  v1::Job& job = entry->job;
  if (HasEnded(job.state())) {
    return absl::FailedPreconditionError(StrCat("job ", id, " has ended already: ", StateName(job.state())));
  }
  if (job.state() == v1::JOB_STATE_COMMITTING) {
    return absl::FailedPreconditionError(StrCat("job ", id, " is being published; it is too late to cancel it"));
  }
  spdlog::info("job {}: {} asks to cancel it", id, user);
  const bool was_requested = job.cancel_requested();
  job.set_cancel_requested(true);
  absl::Status stored;
  if (job.state() == v1::JOB_STATE_PENDING) {
    *job.mutable_ended() = Timestamp(absl::Now());
    stored = Step(entry, v1::JOB_STATE_CANCELLED, StrCat("cancelled by ", user));
    core_->Post([this] { Schedule(); });
  } else if (!was_requested) {
    stored = Save(job, {});
    log_->Note(id, static_cast<uint32_t>(job.attempts_size()), v1::LogLine::LEVEL_INFO, StrCat("cancelled by ", user));
    entry->supervisor->Cancel();
  }
  RETURN_IF_ERROR(stored);
  return job;
}

absl::StatusOr<v1::Job> Jobs::Retry(uint64_t id, const std::string& user) {
  ASSIGN_OR_RETURN(Entry * entry, Find(id));
  v1::Job& job = entry->job;
  if (job.state() != v1::JOB_STATE_FAILED && job.state() != v1::JOB_STATE_CANCELLED) {
    return absl::FailedPreconditionError(
        StrCat("job ", id, " is ", StateName(job.state()), "; only a failed or cancelled job can be tried again"));
  }
  if (draining_) return absl::UnavailableError("the daemon is about to end and takes no jobs");
  spdlog::info("job {}: {} tries it again", id, user);
  job.set_cancel_requested(false);
  job.clear_ended();
  job.clear_output_version();
  job.set_attempts_before_retry(static_cast<uint32_t>(job.attempts_size()));
  if (!job.spec().output().ref().empty()) {
    const auto ref = store_->FindRef(job.spec().output().ref());
    job.set_output_ref_expected(ref.has_value() ? ref->version() : "");
  }
  job.set_reason(v1::PENDING_REASON_REQUEUED);
  RETURN_IF_ERROR(Step(entry, v1::JOB_STATE_PENDING, StrCat("tried again by ", user)));
  core_->Post([this] { Schedule(); });
  return job;
}

absl::StatusOr<v1::Job> Jobs::Get(uint64_t id) const {
  const auto found = entries_.find(id);
  if (found == entries_.end()) return absl::NotFoundError(StrCat("there is no job ", id));
  return found->second.job;
}

std::vector<v1::Job> Jobs::List(bool active_only, size_t limit) const {
  std::vector<v1::Job> jobs;
  for (auto it = entries_.rbegin(); it != entries_.rend() && (limit == 0 || jobs.size() < limit); ++it) {
    if (!active_only || !HasEnded(it->second.job.state())) jobs.push_back(it->second.job);
  }
  std::reverse(jobs.begin(), jobs.end());
  return jobs;
}

size_t Jobs::pending() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), [](const auto& entry) {
    return entry.second.job.state() == v1::JOB_STATE_PENDING;
  }));
}

size_t Jobs::running() const {
  return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                           [](const auto& entry) { return entry.second.supervisor != nullptr; }));
}

absl::StatusOr<std::vector<std::string>> Jobs::Why(uint64_t id) const {
  ASSIGN_OR_RETURN(const v1::Job job, Get(id));
  std::vector<std::string> why;
  if (job.state() == v1::JOB_STATE_PENDING) {
    why.push_back(StrCat("waits: ", job.reason_text().empty() ? "about to be looked at" : job.reason_text()));
  } else if (job.from_recipe()) {
    why.push_back("succeeded at once: the same edit was made before, and its result was used");
  } else if (Runs(job.state())) {
    const v1::Attempt& attempt = job.attempts(job.attempts_size() - 1);
    why.push_back(StrCat(StateName(job.state()), ": attempt ", attempt.number(), " of ",
                         job.spec().limits().max_attempts(), ", worker ", attempt.worker_pid(), ", for ",
                         DurationText(absl::Trunc(absl::Now() - FromTimestamp(attempt.started()), absl::Seconds(1)))));
    if (job.cancel_requested()) why.push_back("a user asked to cancel it");
  } else {
    why.push_back(
        StrCat(StateName(job.state()), job.output_version().empty() ? "" : ": made version ", job.output_version()));
  }
  for (const v1::Attempt& attempt : job.attempts()) {
    if (attempt.exit_class() == v1::EXIT_CLASS_UNSPECIFIED) continue;
    const std::string exit_class =
        v1::ExitClass_Name(attempt.exit_class()).substr(std::string_view("EXIT_CLASS_").size());
    why.push_back(StrCat("attempt ", attempt.number(), ": ", exit_class, attempt.message().empty() ? "" : ": ",
                         attempt.message()));
  }
  return why;
}

// --- edges ----------------------------------------------------------------------------------------------------------

absl::Status Jobs::Step(Entry* entry, v1::JobState to, const std::string& message) {
  v1::Job& job = entry->job;
  const v1::JobState from = job.state();
  job.set_state(to);
  if (to != v1::JOB_STATE_PENDING) {
    job.clear_reason();
    job.clear_reason_text();
  }
  v1::Event event = StateEvent(log_->Next(job.id()), from, job);
  if (!message.empty()) event.mutable_state()->set_message(message);
  spdlog::info("job {}: {} -> {}{}{}", job.id(), StateName(from), StateName(to),
               event.state().message().empty() ? "" : ": ", event.state().message());
  return Save(job, {event});
}

absl::Status Jobs::Save(const v1::Job& job, const std::vector<v1::Event>& events) {
  std::vector<v1::Event>& owed = owed_[job.id()];
  owed.insert(owed.end(), events.begin(), events.end());
  const absl::Status status = store_->PutJob(job, owed);
  if (status.ok()) {
    owed_.erase(job.id());
    log_->Announce(job.id());
    return status;
  }
  spdlog::error("job {}: its state is not stored yet: {}", job.id(), ToStd(status.message()));
  if (!absl::IsResourceExhausted(status)) {
    on_disk_failure_(status);
  } else if (!owing_) {
    owing_ = true;
    core_->PostAfter(kSaveAgain, [this] { SaveOwed(); });
  }
  return Annotate(status, "the job's state could not be stored");
}

void Jobs::SaveOwed() {
  owing_ = false;
  std::vector<uint64_t> ids;
  for (const auto& [id, events] : owed_) ids.push_back(id);
  for (uint64_t id : ids) Save(entries_.at(id).job, {}).IgnoreError();
  if (owed_.empty()) Schedule();
}

// --- attempts -------------------------------------------------------------------------------------------------------

void Jobs::Schedule() {
  Machine machine;
  machine.max_running = config_.max_running;
  machine.memory_budget = config_.memory_budget;
  machine.disk_keep = config_.disk_reserve;
  machine.draining = draining_;
  struct statvfs disk = {};
  if (::statvfs(store_->directory().c_str(), &disk) == 0) machine.disk_free = uint64_t{disk.f_bavail} * disk.f_frsize;
  std::vector<Candidate> candidates;
  for (const auto& [id, entry] : entries_) {
    if (entry.supervisor != nullptr) {
      ++machine.running;
      machine.memory_reserved += MemoryOf(entry.job);
      machine.disk_reserved += entry.job.estimate_disk_bytes();
    } else if (entry.job.state() == v1::JOB_STATE_PENDING && !owed_.contains(id)) {
      const auto path = plugins_->Usable(entry.job.spec().plugin(), entry.job.plugin_hash());
      candidates.push_back({id, entry.job.spec().priority(), MemoryOf(entry.job), entry.job.estimate_disk_bytes(),
                            path.ok() ? "" : std::string(path.status().message())});
    }
  }
  bool look_again = false;
  std::vector<uint64_t> start;
  for (const Decision& decision : Decide(machine, std::move(candidates))) {
    Entry& entry = entries_.at(decision.id);
    if (decision.start) {
      start.push_back(decision.id);
      continue;
    }
    entry.job.set_reason(decision.reason);
    entry.job.set_reason_text(decision.text);
    look_again |=
        decision.reason == v1::PENDING_REASON_DISK_LOW || decision.reason == v1::PENDING_REASON_PLUGIN_MISSING;
  }
  for (uint64_t id : start) Start(&entries_.at(id));
  if (look_again && !looking_) {
    looking_ = true;
    core_->PostAfter(kLookAgain, [this] {
      looking_ = false;
      Schedule();
    });
  }
}

void Jobs::Start(Entry* entry) {
  v1::Job& job = entry->job;
  const uint64_t id = job.id();
  // A retry may find that meanwhile another job made what this one would.
  if (job.attempts_size() > 0) {
    const v1::JobState from = job.state();
    const auto known = AnswerFromStore(&job);
    if (known.ok() && *known) {
      job.set_state(from);
      Step(entry, v1::JOB_STATE_SUCCEEDED, "the same edit was made meanwhile; its result is used").IgnoreError();
      launch_thread_->Post([store = store_, id] { store->RemoveCheckpoint(id).IgnoreError(); });  // Else gc takes it.
      return;
    }
  }
  v1::Attempt* const attempt = job.add_attempts();
  attempt->set_number(static_cast<uint32_t>(job.attempts_size()));
  *attempt->mutable_started() = Timestamp(absl::Now());
  const absl::Status stored = Step(entry, v1::JOB_STATE_STARTING);
  if (!stored.ok()) {
    EndAttempt(entry, v1::EXIT_CLASS_INTERRUPTED, std::string(stored.message()));
    return;
  }
  const auto path = plugins_->Usable(job.spec().plugin(), job.plugin_hash());
  auto inputs = DescribeInputs(job, *store_, /*first_fd=*/1);
  if (!path.ok() || !inputs.ok()) {
    EndAttempt(entry, v1::EXIT_CLASS_LAUNCH_FAILED,
               std::string(path.ok() ? inputs.status().message() : path.status().message()));
    return;
  }
  entry->inputs = std::make_shared<JobInputs>(*std::move(inputs));
  entry->staging = StrCat(store_->directory(), "/staging/", id, ".", attempt->number());

  v1::RunRequest run;
  run.set_plugin_path(*path);
  run.set_plugin_hash(job.plugin_hash());
  *run.mutable_input() = entry->inputs->message;
  run.set_staging(0);
  run.set_memory_bytes(job.spec().limits().memory_bytes());
  run.set_heartbeat_seconds(static_cast<uint32_t>(std::max<int64_t>(1, absl::ToInt64Seconds(config_.heartbeat))));
  run.set_require_finite(true);
  run.set_recipe(job.recipe());

  SupervisorOptions options;
  options.launch.memory_bytes = job.spec().limits().memory_bytes();
  options.time_limit = absl::Seconds(job.spec().limits().time_seconds());
  options.hung_after = config_.hung_after;
  options.grace = config_.cancel_grace;
  options.prepare = [store = store_, inputs = entry->inputs, run, id,
                     number = attempt->number()]() -> absl::StatusOr<daemon::Start> {
    ASSIGN_OR_RETURN(const std::string staging, store->CreateStaging(id, number));
    daemon::Start start;
    ASSIGN_OR_RETURN(UniqueFd folder, OpenForRead(staging));
    start.descriptors.push_back(std::move(folder));
    ASSIGN_OR_RETURN(std::vector<UniqueFd> sources, OpenSources(*inputs, *store));
    std::move(sources.begin(), sources.end(), std::back_inserter(start.descriptors));
    *start.message.mutable_run() = run;
    if (absl::StatusOr<UniqueFd> checkpoint = store->OpenCheckpoint(id); checkpoint.ok()) {
      start.message.mutable_run()->set_checkpoint(static_cast<uint32_t>(start.descriptors.size()));
      start.descriptors.push_back(*std::move(checkpoint));
    } else if (!absl::IsNotFound(checkpoint.status())) {
      spdlog::warn("job {}: it starts anew: {}", id, ToStd(checkpoint.status().message()));
    }
    return start;
  };
  entry->supervisor = std::make_shared<Supervisor>(std::move(options), launcher_, core_, launch_thread_,
                                                   std::make_shared<Attempt>(this, id));
  entry->supervisor->Start();
}

void Jobs::OnLaunchFailed(uint64_t id, const absl::Status& status) {
  EndAttempt(&entries_.at(id), v1::EXIT_CLASS_LAUNCH_FAILED, std::string(status.message()));
}

void Jobs::OnStarted(uint64_t id, pid_t pid) {
  Entry& entry = entries_.at(id);
  LastAttempt(&entry.job)->set_worker_pid(pid);
  Step(&entry, v1::JOB_STATE_RUNNING).IgnoreError();
}

void Jobs::OnEvents(uint64_t id, const std::vector<WorkerEvent>& events) {
  log_->Append(id, LastAttempt(&entries_.at(id).job)->number(), events);
}

void Jobs::OnEnd(uint64_t id, Ended ended) {
  Entry& entry = entries_.at(id);
  v1::Attempt* const attempt = LastAttempt(&entry.job);
  attempt->set_exit_status(ended.exit.status);
  attempt->set_peak_rss_bytes(ended.exit.peak_rss_bytes);
  const Verdict verdict = Classify(ended);
  if (verdict.exit_class != v1::EXIT_CLASS_OK) {
    EndAttempt(&entry, verdict.exit_class, verdict.message);
    return;
  }
  auto publication = MakePublication(entry.job, *ended.reply, *entry.inputs, entry.staging);
  if (!publication.ok()) {
    EndAttempt(&entry, v1::EXIT_CLASS_INVALID_OUTPUT, std::string(publication.status().message()));
    return;
  }
  // Large files take seconds to hash: not on the core thread.
  auto request = std::make_shared<storage::PublishRequest>(*std::move(publication));
  auto reply = std::make_shared<v1::RunReply>(*std::move(ended.reply));
  launch_thread_->Post([this, id, request, reply] {
    const absl::Status hashed = HashStagedFiles(&request->files);
    core_->Post([this, id, request, reply, hashed] {
      Entry& entry = entries_.at(id);
      const absl::Status published = hashed.ok() ? Publish(&entry, std::move(*request), *reply) : hashed;
      if (published.ok()) return;
      const bool invalid = published.code() == absl::StatusCode::kInvalidArgument ||
                           published.code() == absl::StatusCode::kDataLoss ||
                           published.code() == absl::StatusCode::kFailedPrecondition;
      EndAttempt(&entry, invalid ? v1::EXIT_CLASS_INVALID_OUTPUT : v1::EXIT_CLASS_COMMIT_FAILED,
                 std::string(published.message()));
    });
  });
}

absl::Status Jobs::Publish(Entry* entry, storage::PublishRequest request, const v1::RunReply& reply) {
  google::protobuf::Any result;
  if (!reply.result().empty() && !result.ParseFromString(reply.result())) {
    return absl::InvalidArgumentError("the plugin's result is no google.protobuf.Any");
  }
  if (const auto plugin = plugins_->Find(entry->job.spec().plugin());
      request.makes_version && plugin.ok() && plugin->plugin.hash() == entry->job.plugin_hash()) {
    request.version.mutable_recipe()->set_params_text(plugin->types->Text(entry->job.spec().params()));
  }
  if (request.makes_version && entry->job.force()) {
    ASSIGN_OR_RETURN(const Id recipe, Id::FromHex(entry->job.recipe()));
    request.must_equal = store_->FindRecipe(recipe);
  }
  request.job = entry->job;
  if (const auto owed = owed_.find(entry->job.id()); owed != owed_.end()) request.events = owed->second;
  v1::Job finished;
  request.finish = [&](const storage::Published& published, v1::Job* job, std::vector<v1::Event>* events) {
    v1::Attempt* const attempt = LastAttempt(job);
    attempt->set_exit_class(v1::EXIT_CLASS_OK);
    *attempt->mutable_ended() = Timestamp(absl::Now());
    attempt->clear_worker_pid();
    *job->mutable_ended() = attempt->ended();
    if (!published.version.empty()) job->set_output_version(published.version.Hex());
    if (!reply.result().empty()) *job->mutable_result() = result;
    job->mutable_exported()->Assign(published.exported.begin(), published.exported.end());
    job->set_bytes_written(published.bytes_written);
    job->set_state(v1::JOB_STATE_SUCCEEDED);
    if (!published.ref_conflict.ok()) {
      attempt->set_exit_class(v1::EXIT_CLASS_COMMIT_FAILED);
      attempt->set_message(StrCat(published.ref_conflict.message(), "; the result is published as version ",
                                  job->output_version(), "; editctl tag can point the name at it"));
      job->set_state(v1::JOB_STATE_FAILED);
    }
    events->push_back(StateEvent(log_->Next(job->id()), entry->job.state(), *job));
    finished = *job;
  };
  const auto published = store_->Publish(std::move(request));
  if (!published.ok()) {
    log_->Forget(entry->job.id());
    return published.status();
  }
  owed_.erase(finished.id());  // The row that was just written has it all.
  entry->job = std::move(finished);
  log_->Announce(entry->job.id());
  spdlog::info("job {}: {}{}{}", entry->job.id(), StateName(entry->job.state()),
               entry->job.output_version().empty() ? "" : ", version ", entry->job.output_version());
  if (entry->job.state() == v1::JOB_STATE_SUCCEEDED && entry->job.output_version().empty()) {
    recipes_[entry->job.recipe()] = entry->job.id();
  }
  AttemptOver(entry);
  return absl::OkStatus();
}

void Jobs::EndAttempt(Entry* entry, v1::ExitClass exit_class, const std::string& message) {
  v1::Job& job = entry->job;
  v1::Attempt* const attempt = LastAttempt(&job);
  attempt->set_exit_class(exit_class);
  attempt->set_message(message);
  attempt->clear_worker_pid();
  *attempt->mutable_ended() = Timestamp(absl::Now());
  v1::JobState next = v1::JOB_STATE_FAILED;
  if (exit_class == v1::EXIT_CLASS_CANCELLED) {
    next = v1::JOB_STATE_CANCELLED;
  } else if (StartsAgain(job, exit_class)) {
    next = v1::JOB_STATE_PENDING;
    job.set_reason(v1::PENDING_REASON_REQUEUED);
    job.set_reason_text(StrCat("attempt ", attempt->number(), " ended: ", message));
  }
  if (next != v1::JOB_STATE_PENDING) *job.mutable_ended() = attempt->ended();
  Step(entry, next).IgnoreError();
  AttemptOver(entry);
}

void Jobs::AttemptOver(Entry* entry) {
  const uint64_t id = entry->job.id();
  const uint32_t number = static_cast<uint32_t>(entry->job.attempts_size());
  log_->AttemptOver(id);
  entry->supervisor = nullptr;
  entry->inputs = nullptr;
  if (!entry->staging.empty()) {
    // What the attempt kept is for the next one, which starts on the same thread, later.
    const bool succeeded = entry->job.state() == v1::JOB_STATE_SUCCEEDED;
    launch_thread_->Post([store = store_, id, number, succeeded] {
      absl::Status status = succeeded ? store->RemoveCheckpoint(id) : store->KeepCheckpoint(id, number);
      status.Update(store->RemoveStaging(id, number));
      if (!status.ok()) spdlog::warn("job {}: {}", id, ToStd(status.message()));
    });
    entry->staging.clear();
  }
  core_->Post([this] {
    Schedule();
    CallIfIdle();
  });
}

// --- the daemon's end -----------------------------------------------------------------------------------------------

void Jobs::Drain(std::function<void()> idle) {
  draining_ = true;
  idle_ = std::move(idle);
  Schedule();
  CallIfIdle();
}

void Jobs::KillAll(std::function<void()> idle) {
  draining_ = true;
  idle_ = std::move(idle);
  for (auto& [id, entry] : entries_) {
    if (entry.supervisor != nullptr) entry.supervisor->Kill();
  }
  CallIfIdle();
}

void Jobs::CallIfIdle() {
  if (idle_ != nullptr && running() == 0) std::exchange(idle_, nullptr)();
}

}  // namespace editd::daemon
