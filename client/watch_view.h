// WatchView: a job's events as lines: on a terminal with a progress bar that is redrawn in place, in a pipe with plain
// lines only.
//
// The rate is that of the last seconds, so that it follows the work; the time left comes from it. In a pipe, progress
// is told at most each 10 s or 10 %.
//
// Thread-compatible. Time comes from outside, so tests have their own.
#ifndef EDITD_CLIENT_WATCH_VIEW_H_
#define EDITD_CLIENT_WATCH_VIEW_H_

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "editd/v1/job.pb.h"

namespace editd::client {

// What is known of where lines go.
struct ViewTarget {
  bool terminal = false;
  bool colour = false;
  bool quiet = false;                                 // Neither log lines nor progress.
  std::function<size_t()> width;                      // Columns, asked anew each time: windows are resized.
  std::function<double()> now;                        // Seconds, from any beginning.
  std::function<void(std::string_view bytes)> write;  // Shown at once.
};

class WatchView {
 public:
  explicit WatchView(ViewTarget target) : target_(std::move(target)) {}

  void OnEvent(const v1::Event& event);
  // Redraws the bar if something is due; call it at least each 100 ms.
  void Tick();
  // A line of our own, e.g. that the connection is lost.
  void Say(std::string_view line);
  // Takes the bar away. What follows is the caller's.
  void End();

 private:
  struct Sample {
    double time;
    uint64_t done;
  };

  void OnProgress(const v1::Progress& progress);
  void OnState(uint64_t job, const v1::StateChange& change);
  void OnText(const v1::TextPiece& piece);
  void TextLine(uint32_t stream, std::string_view line);
  void EndTexts();    // What has no line break yet is a line.
  void EndRunning();  // The last value stays, as a line.
  void Line(std::string_view text, std::string_view colour = {});
  void Draw();
  void Erase();
  double Rate() const;  // Units a second; 0: not known yet.
  std::string BarText(size_t width) const;
  std::string PlainText() const;

  const ViewTarget target_;
  uint64_t job_ = 0;
  // A final state waits for a further event (a retry): if none comes, the caller tells how the job ended.
  std::string held_back_;
  v1::Progress progress_;
  bool has_progress_ = false;
  std::string running_;  // On a terminal, beside the bar: a metric that goes on from step to step.
  std::deque<Sample> samples_;
  double phase_started_ = 0;
  double drawn_at_ = -1e9;
  bool drawn_ = false;
  bool dirty_ = false;
  double told_at_ = -1e9;  // The last plain progress line, and its share.
  double told_share_ = 0;
  std::map<uint32_t, std::string> texts_;  // By stream: the line that grows.
  uint32_t text_attempt_ = 0;
  bool many_texts_ = false;
};

}  // namespace editd::client

#endif  // EDITD_CLIENT_WATCH_VIEW_H_
