#include "daemon/event_log.h"

#include "absl/time/clock.h"
#include "daemon/times.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(250);
// An attempt's; then one line says that the rest is left out.
constexpr uint64_t kMaxLines = 100'000;
constexpr uint64_t kMaxTextBytes = 64 << 20;

}  // namespace

bool EventNews::Wait(uint64_t job, uint64_t seq, absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, absl::ToChronoNanoseconds(timeout), [&] {
    const auto found = last_.find(job);
    return stop_ || (found != last_.end() && found->second > seq);
  });
  return !stop_;
}

void EventNews::Announce(uint64_t job, uint64_t last_seq) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    last_[job] = last_seq;
  }
  changed_.notify_all();
}

void EventNews::Stop(const absl::Status& why) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    why_ = why;
  }
  changed_.notify_all();
}

absl::Status EventNews::why() {
  std::lock_guard<std::mutex> lock(mutex_);
  return why_;
}

uint64_t EventLog::LastSeq(uint64_t job) {
  const auto found = last_.find(job);
  if (found != last_.end()) return found->second;
  return last_[job] = store_->LastEventSeq(job);
}

v1::Event EventLog::Next(uint64_t job) {
  v1::Event event;
  event.set_job(job);
  event.set_seq(LastSeq(job) + 1);
  last_[job] = event.seq();
  *event.mutable_time() = Timestamp(absl::Now());
  return event;
}

bool EventLog::Wanted(Running* running, const v1::Progress& progress) {
  const auto now = std::chrono::steady_clock::now();
  const bool same_phase = progress.phase() == running->progress.phase();
  const bool same =
      same_phase && progress.done() == running->progress.done() && progress.total() == running->progress.total();
  const bool complete = progress.total() > 0 && progress.done() == progress.total();
  if (same || (same_phase && !complete && now - running->last_progress < kProgressInterval)) return false;
  running->progress = progress;
  running->last_progress = now;
  return true;
}

void EventLog::Append(uint64_t job, uint32_t attempt, const std::vector<WorkerEvent>& events) {
  Running& running = running_[job];
  std::vector<v1::Event> kept;
  const auto add_line = [&](v1::LogLine::Source source, int level, const std::string& text) {
    if (++running.lines > kMaxLines + 1) return;
    v1::LogLine* line = kept.emplace_back(Next(job)).mutable_log();
    line->set_attempt(attempt);
    if (running.lines == kMaxLines + 1) {
      line->set_source(v1::LogLine::SOURCE_DAEMON);
      line->set_level(v1::LogLine::LEVEL_WARNING);
      line->set_text("the attempt wrote 100000 lines; further ones are left out");
      return;
    }
    line->set_source(source);
    line->set_level(level >= 1 && level <= 4 ? static_cast<v1::LogLine::Level>(level) : v1::LogLine::LEVEL_INFO);
    line->set_text(text);
  };
  for (const WorkerEvent& event : events) {
    if (const auto* output = std::get_if<OutputLine>(&event)) {
      add_line(output->error ? v1::LogLine::SOURCE_STDERR : v1::LogLine::SOURCE_STDOUT, v1::LogLine::LEVEL_INFO,
               output->text);
      continue;
    }
    const auto* frame = std::get_if<v1::FromWorker>(&event);
    if (frame == nullptr) continue;
    if (frame->has_log()) {
      add_line(v1::LogLine::SOURCE_PLUGIN, frame->log().level(), frame->log().text());
    } else if (frame->has_metric()) {
      v1::Metric* metric = kept.emplace_back(Next(job)).mutable_metric();
      metric->set_name(frame->metric().name());
      metric->set_value(frame->metric().value());
      metric->set_step(frame->metric().step());
    } else if (frame->has_text()) {
      const uint64_t before = running.text_bytes;
      running.text_bytes += frame->text().text().size();
      if (running.text_bytes <= kMaxTextBytes) {
        v1::TextPiece* piece = kept.emplace_back(Next(job)).mutable_text();
        piece->set_attempt(attempt);
        piece->set_stream(frame->text().stream());
        piece->set_text(frame->text().text());
      } else if (before <= kMaxTextBytes) {
        v1::LogLine* line = kept.emplace_back(Next(job)).mutable_log();
        line->set_source(v1::LogLine::SOURCE_DAEMON);
        line->set_level(v1::LogLine::LEVEL_WARNING);
        line->set_attempt(attempt);
        line->set_text("the attempt told 64 MiB of text; further pieces are left out");
      }
    } else if (frame->has_progress()) {
      v1::Progress progress;
      progress.set_phase(frame->progress().phase());
      progress.set_done(frame->progress().done());
      progress.set_total(frame->progress().total());
      progress.set_unit(frame->progress().unit());
      if (Wanted(&running, progress)) *kept.emplace_back(Next(job)).mutable_progress() = progress;
    }
  }
  if (!kept.empty()) Store(job, kept);
}

void EventLog::Note(uint64_t job, uint32_t attempt, v1::LogLine::Level level, const std::string& text) {
  v1::Event event = Next(job);
  v1::LogLine* line = event.mutable_log();
  line->set_source(v1::LogLine::SOURCE_DAEMON);
  line->set_level(level);
  line->set_attempt(attempt);
  line->set_text(text);
  Store(job, {event});
}

void EventLog::Store(uint64_t job, const std::vector<v1::Event>& events) {
  const absl::Status status = store_->AppendEvents(events);
  if (!status.ok()) {
    spdlog::warn("job {}: {} events not stored: {}", job, events.size(), ToStd(status.message()));
    Forget(job);
    return;
  }
  Announce(job);
}

v1::Event StateEvent(v1::Event event, v1::JobState from, const v1::Job& job) {
  v1::StateChange* change = event.mutable_state();
  change->set_from(from);
  change->set_to(job.state());
  change->set_attempt(job.attempts_size() == 0 ? 0 : job.attempts(job.attempts_size() - 1).number());
  if (job.state() == v1::JOB_STATE_PENDING) change->set_reason(job.reason());
  if (from != v1::JOB_STATE_UNSPECIFIED && from != v1::JOB_STATE_PENDING && job.attempts_size() > 0) {
    const v1::Attempt& attempt = job.attempts(job.attempts_size() - 1);
    change->set_exit_class(attempt.exit_class());
    change->set_message(attempt.message());
  }
  return event;
}

}  // namespace editd::daemon
