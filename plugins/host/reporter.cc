#include "plugins/host/reporter.h"

#include <sys/resource.h>
#include <time.h>

#include <algorithm>

#include "editd/plugin.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::host {
namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(100);
constexpr size_t kMaxLine = 8 << 10;
constexpr size_t kMaxName = 256;
constexpr auto kTextInterval = std::chrono::milliseconds(40);  // Times the number of texts that have something to tell.
constexpr size_t kTextsHeld = 64 << 10;
constexpr size_t kMaxText = 16 << 10;

int64_t Nanoseconds(clockid_t clock) {
  struct timespec t;
  ::clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

// How many bytes at the beginning of `text` are no part of a character that is still coming.
size_t WholeCharacters(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

// A number that grows when files are waited for.
int64_t FileActivity() {
  struct rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_majflt + usage.ru_inblock + usage.ru_oublock;
}

}  // namespace

bool Reporter::Budget::Take(Clock::time_point now) {
  if (at_ != Clock::time_point{}) {
    left_ = std::min(kBurst, left_ + kPerSecond * std::chrono::duration<double>(now - at_).count());
  }
  at_ = now;
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

void Reporter::Send(const v1::FromWorker& frame) {
  // A daemon that is gone ends this process by itself; there is nobody to tell.
  if (socket_ != nullptr) (void)socket_->Send(frame.SerializeAsString());
}

void Reporter::Progress(std::string_view phase, uint64_t done, uint64_t total, std::string_view unit) {
  Alive();
  if (socket_ == nullptr) return;
  std::lock_guard<std::mutex> lock(mutex_);
  const Clock::time_point now = Clock::now();
  const bool new_phase = phase != phase_;
  const bool due = new_phase || done == total || now - progress_at_ >= kProgressInterval;
  if (new_phase && progress_held_.has_progress()) Send(progress_held_);
  progress_held_.Clear();
  v1::WorkerProgress* progress = progress_held_.mutable_progress();
  progress->set_phase(ToValidUtf8(phase, kMaxName));
  progress->set_done(done);
  progress->set_total(total);
  progress->set_unit(ToValidUtf8(unit, kMaxName));
  if (!due) return;
  phase_ = phase;
  progress_at_ = now;
  Send(progress_held_);
  progress_held_.Clear();
}

void Reporter::Log(int level, std::string_view text) {
  Alive();
  if (socket_ == nullptr) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!log_budget_.Take(Clock::now())) {
    ++log_left_out_;
    return;
  }
  SayLeftOut();
  v1::FromWorker frame;
  frame.mutable_log()->set_level(std::clamp<int>(level, EDIT_LOG_DEBUG, EDIT_LOG_ERROR));
  frame.mutable_log()->set_text(ToValidUtf8(text, kMaxLine));
  Send(frame);
}

void Reporter::Metric(std::string_view name, double value, int64_t step) {
  Alive();
  if (socket_ == nullptr) return;
  std::lock_guard<std::mutex> lock(mutex_);
  if (!metric_budget_.Take(Clock::now())) {
    ++metrics_left_out_;
    return;
  }
  v1::FromWorker frame;
  frame.mutable_metric()->set_name(ToValidUtf8(name, kMaxName));
  frame.mutable_metric()->set_value(value);
  frame.mutable_metric()->set_step(step);
  Send(frame);
}

void Reporter::Text(uint32_t stream, std::string_view piece) {
  Alive();
  if (socket_ == nullptr || piece.empty()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  texts_[stream].append(piece);
  texts_size_ += piece.size();
  const Clock::time_point now = Clock::now();
  if (texts_size_ < kTextsHeld && now - text_at_ < kTextInterval * std::min<size_t>(32, texts_.size())) return;
  text_at_ = now;
  SendText(/*last=*/false);
}

void Reporter::SendText(bool last) {
  v1::FromWorker frame;
  for (auto it = texts_.begin(); it != texts_.end();) {
    std::string& text = it->second;
    const size_t whole = last ? text.size() : WholeCharacters(text);
    for (size_t begin = 0; begin < whole;) {
      size_t size = std::min(kMaxText, whole - begin);
      if (begin + size < whole) size = std::max<size_t>(1, WholeCharacters(std::string_view(text).substr(begin, size)));
      frame.mutable_text()->set_stream(it->first);
      frame.mutable_text()->set_text(ToValidUtf8(std::string_view(text).substr(begin, size)));
      Send(frame);
      begin += size;
    }
    texts_size_ -= whole;
    text.erase(0, whole);
    it = text.empty() ? texts_.erase(it) : std::next(it);
  }
}

void Reporter::SayLeftOut() {
  if (log_left_out_ + metrics_left_out_ == 0) return;
  v1::FromWorker frame;
  frame.mutable_log()->set_level(EDIT_LOG_WARNING);
  frame.mutable_log()->set_text(
      StrCat("left out ", log_left_out_, " lines and ", metrics_left_out_, " metrics: too many at once"));
  log_left_out_ = metrics_left_out_ = 0;
  Send(frame);
}

void Reporter::Flush() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (progress_held_.has_progress()) Send(progress_held_);
  progress_held_.Clear();
  SendText(/*last=*/true);
  SayLeftOut();
}

void Reporter::StartHeartbeat(unsigned seconds) {
  heart_ = std::thread([this, seconds] { Beat(std::max(1u, seconds)); });
}

void Reporter::StopHeartbeat() {
  if (!heart_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(heart_mutex_);
    heart_stops_ = true;
  }
  heart_changed_.notify_all();
  heart_.join();
}

void Reporter::Beat(unsigned seconds) {
  // Less than a hundredth of one processor may be anybody's bookkeeping.
  const int64_t enough = 5'000'000 * int64_t{seconds};
  const auto worked = [] { return Nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - Nanoseconds(CLOCK_THREAD_CPUTIME_ID); };
  v1::FromWorker frame;
  frame.mutable_heartbeat();
  uint64_t calls = ~0ull;
  int64_t work = 0, files = 0;
  // Twice as often as asked, so that one late wake-up does not look like silence.
  const auto interval = std::chrono::milliseconds(500 * seconds);
  std::unique_lock<std::mutex> lock(heart_mutex_);
  do {
    const uint64_t calls_now = calls_.load(std::memory_order_relaxed);
    const int64_t work_now = worked(), files_now = FileActivity();
    const bool idle = calls_now == calls && work_now - work < enough && files_now == files && works_.load() == 0;
    calls = calls_now;
    work = work_now;
    files = files_now;
    if (idle) continue;
    lock.unlock();
    Send(frame);
    lock.lock();
  } while (!heart_changed_.wait_for(lock, interval, [this] { return heart_stops_; }));
}

}  // namespace editd::host
