#include "client/watch_view.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/format.h"
#include "client/table.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

constexpr double kRateWindow = 5;  // Seconds.
constexpr double kRedrawInterval = 0.1;
constexpr double kPlainInterval = 10;  // Seconds between plain progress lines,
constexpr double kPlainShare = 0.1;    // or this much more is done.
constexpr size_t kLongestLine = 4096;  // Of a text that grows.

constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kReset = "\x1b[0m";

double Share(const v1::Progress& progress) {
  if (progress.total() == 0) return 0;
  return std::min(1.0, static_cast<double>(progress.done()) / static_cast<double>(progress.total()));
}

}  // namespace

void WatchView::OnEvent(const v1::Event& event) {
  job_ = event.job();
  if (!held_back_.empty()) Line(std::exchange(held_back_, ""));
  switch (event.kind_case()) {
    case v1::Event::kState:
      OnState(event.job(), event.state());
      break;
    case v1::Event::kLog: {
      if (target_.quiet) break;
      const v1::LogLine& log = event.log();
      if (log.level() == v1::LogLine::LEVEL_DEBUG) break;  // editctl logs has it.
      const bool error = log.level() == v1::LogLine::LEVEL_ERROR;
      const bool warning = log.level() == v1::LogLine::LEVEL_WARNING;
      const std::string_view mark = error ? "error: " : warning ? "warning: " : "";
      Line(StrCat("  ", mark, log.text()), error ? kRed : warning ? kYellow : kDim);
      break;
    }
    case v1::Event::kProgress:
      OnProgress(event.progress());
      break;
    case v1::Event::kMetric: {
      if (target_.quiet) break;
      const v1::Metric& metric = event.metric();
      const std::string text = StrCat(metric.name(), " ", FormatNumber(metric.value()));
      if (target_.terminal && has_progress_ && metric.step() > 0) {
        running_ = text;
        dirty_ = true;
        break;
      }
      Line(StrCat("  ", text, metric.step() > 0 ? StrCat(" at step ", metric.step()) : ""));
      break;
    }
    case v1::Event::kText:
      if (!target_.quiet) OnText(event.text());
      break;
    case v1::Event::KIND_NOT_SET:
      break;
  }
}

void WatchView::OnText(const v1::TextPiece& piece) {
  if (piece.attempt() != text_attempt_) EndTexts();
  text_attempt_ = piece.attempt();
  many_texts_ |= piece.stream() > 0;
  std::string& line = texts_[piece.stream()];
  line += piece.text();
  size_t begin = 0;
  for (size_t end; (end = line.find('\n', begin)) != std::string::npos; begin = end + 1) {
    TextLine(piece.stream(), std::string_view(line).substr(begin, end - begin));
  }
  line.erase(0, begin);
  if (line.size() < kLongestLine) return;
  TextLine(piece.stream(), line);
  line.clear();
}

void WatchView::TextLine(uint32_t stream, std::string_view line) {
  Line(many_texts_ ? StrCat("  [", stream, "] ", line) : StrCat("  ", line));
}

void WatchView::EndTexts() {
  for (const auto& [stream, line] : std::exchange(texts_, {})) {
    if (!line.empty()) TextLine(stream, line);
  }
}

void WatchView::EndRunning() {
  if (!running_.empty()) Line(StrCat("  ", std::exchange(running_, "")));
}

void WatchView::OnState(uint64_t job, const v1::StateChange& change) {
  EndTexts();
  EndRunning();
  std::string text = StrCat("job ", job, ": ", EnumWord(v1::JobState_Name(change.to()), "JOB_STATE_"));
  if (change.to() == v1::JOB_STATE_PENDING && change.reason() != v1::PENDING_REASON_UNSPECIFIED) {
    StrAppend(&text, " (", EnumWord(v1::PendingReason_Name(change.reason()), "PENDING_REASON_"), ")");
  }
  if (change.attempt() > 1) StrAppend(&text, ", attempt ", change.attempt());
  if (change.exit_class() != v1::EXIT_CLASS_UNSPECIFIED && change.exit_class() != v1::EXIT_CLASS_OK &&
      change.exit_class() != v1::EXIT_CLASS_PLUGIN_ERROR) {
    StrAppend(&text, ", ", EnumWord(v1::ExitClass_Name(change.exit_class()), "EXIT_CLASS_"));
  }
  if (!change.message().empty()) StrAppend(&text, ": ", change.message());
  has_progress_ = false;
  if (target_.quiet) return;
  const bool final = change.to() == v1::JOB_STATE_FAILED || change.to() == v1::JOB_STATE_CANCELLED ||
                     change.to() == v1::JOB_STATE_SUCCEEDED;
  if (final) {
    Erase();
    held_back_ = text;
  } else {
    Line(text);
  }
}

void WatchView::OnProgress(const v1::Progress& progress) {
  const double now = target_.now();
  if (progress.phase() != progress_.phase()) EndRunning();
  if (!has_progress_ || progress.phase() != progress_.phase() || progress.done() < progress_.done()) {
    samples_.clear();
    phase_started_ = now;
    told_at_ = -1e9;
  }
  progress_ = progress;
  has_progress_ = true;
  samples_.push_back({now, progress.done()});
  while (samples_.size() > 2 && samples_[1].time < now - kRateWindow) samples_.pop_front();
  if (target_.quiet) return;
  if (target_.terminal) {
    dirty_ = true;
    if (now - drawn_at_ >= kRedrawInterval) Draw();
    return;
  }
  const double share = Share(progress);
  if (now - told_at_ >= kPlainInterval || share - told_share_ >= kPlainShare) {
    told_at_ = now;
    told_share_ = share;
    Line(PlainText());
  }
}

void WatchView::Tick() {
  if (!target_.terminal || target_.quiet || !has_progress_) return;
  // Once a second even if nothing came: the time left goes on.
  const double since = target_.now() - drawn_at_;
  if ((dirty_ && since >= kRedrawInterval) || since >= 1) Draw();
}

void WatchView::Say(std::string_view line) {
  if (!target_.quiet) Line(line, kDim);
}

void WatchView::End() {
  Erase();
  has_progress_ = false;
}

double WatchView::Rate() const {
  if (samples_.empty()) return 0;
  const Sample& first = samples_.front();
  const double seconds = target_.now() - first.time;
  if (seconds < 0.2) return 0;
  return static_cast<double>(samples_.back().done - first.done) / seconds;
}

std::string WatchView::PlainText() const {
  std::string text = StrCat("job ", job_, ": ", progress_.phase());
  if (progress_.total() > 0) StrAppend(&text, " ", static_cast<int>(Share(progress_) * 100), " %");
  // "3 of 12 files", "1.0 MB of 3.0 MB"
  const bool bytes = progress_.unit() == "bytes";
  const auto done = static_cast<double>(progress_.done());
  StrAppend(&text, " (", FormatAmount(done, bytes || progress_.total() == 0 ? progress_.unit() : ""));
  if (progress_.total() > 0) {
    StrAppend(&text, " of ", FormatAmount(static_cast<double>(progress_.total()), progress_.unit()));
  }
  if (Rate() > 0) StrAppend(&text, ", ", FormatAmount(Rate(), progress_.unit()), "/s");
  return text + ")";
}

std::string WatchView::BarText(size_t width) const {
  const double rate = Rate();
  std::string after;
  if (progress_.total() > 0) {
    const std::string percent = StrCat(static_cast<int>(Share(progress_) * 100), "%");
    after = std::string(percent.size() < 4 ? 4 - percent.size() : 0, ' ') + percent;
  } else {
    after = FormatAmount(static_cast<double>(progress_.done()), progress_.unit());
  }
  // A running value takes the place of the rate where there is no room for both.
  const std::string running = running_.empty() ? "" : StrCat("  ", Printable(running_));
  if (rate > 0 && (running.empty() || width > 100)) StrAppend(&after, "  ", FormatAmount(rate, progress_.unit()), "/s");
  if (rate > 0 && progress_.total() > progress_.done()) {
    StrAppend(&after, "  ETA ",
              FormatSeconds(std::ceil(static_cast<double>(progress_.total() - progress_.done()) / rate)));
  } else if (rate == 0 || progress_.total() == 0) {
    StrAppend(&after, "  ", FormatSeconds(target_.now() - phase_started_));
  }
  after += running;
  // A long name of a phase must not push the bar away.
  const std::string before =
      StrCat("job ", job_, "  ", FitWidth(Printable(progress_.phase()), std::max<size_t>(20, width / 3)));
  const size_t fixed = DisplayWidth(before) + DisplayWidth(after) + 4;
  // No bar where it would tell less than the percentage.
  if (progress_.total() == 0 || fixed + 12 > width) return FitWidth(StrCat(before, "  ", after), width);
  const size_t cells = std::min<size_t>(40, width - fixed - 2);
  const auto full = static_cast<size_t>(Share(progress_) * static_cast<double>(cells));
  return StrCat(before, "  [", std::string(full, '='), full < cells ? ">" : "",
                std::string(full < cells ? cells - full - 1 : 0, ' '), "] ", after);
}

void WatchView::Draw() {
  // One column stays free: a line that fills the last one would wrap on some terminals.
  const size_t width = std::max<size_t>(target_.width(), 20) - 1;
  target_.write(StrCat("\r\x1b[K", BarText(width)));
  drawn_ = true;
  dirty_ = false;
  drawn_at_ = target_.now();
}

void WatchView::Erase() {
  if (!drawn_) return;
  target_.write("\r\x1b[K");
  drawn_ = false;
}

void WatchView::Line(std::string_view text, std::string_view colour) {
  Erase();
  const bool coloured = target_.colour && !colour.empty();
  target_.write(StrCat(coloured ? colour : "", Printable(text), coloured ? kReset : "", "\n"));
  if (target_.terminal && has_progress_) Draw();
}

}  // namespace editd::client
