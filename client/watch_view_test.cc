#include "client/watch_view.h"

#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::client {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// What a terminal shows, or a pipe gets, under a clock that only the test moves.
class WatchViewTest : public ::testing::Test {
 protected:
  WatchView Make(bool terminal, bool quiet = false) {
    ViewTarget target;
    target.terminal = terminal;
    target.quiet = quiet;
    target.width = [this] { return width_; };
    target.now = [this] { return now_; };
    target.write = [this](std::string_view bytes) { written_ += bytes; };
    return WatchView(target);
  }
  static v1::Event Progress(uint64_t done, uint64_t total, const std::string& phase = "encode") {
    v1::Event event;
    event.set_job(7);
    event.mutable_progress()->set_phase(phase);
    event.mutable_progress()->set_done(done);
    event.mutable_progress()->set_total(total);
    event.mutable_progress()->set_unit("bytes");
    return event;
  }
  static v1::Event Log(const std::string& text) {
    v1::Event event;
    event.set_job(7);
    event.mutable_log()->set_text(text);
    return event;
  }
  static v1::Event State(v1::JobState state, const std::string& message = "") {
    v1::Event event;
    event.set_job(7);
    event.mutable_state()->set_to(state);
    event.mutable_state()->set_message(message);
    return event;
  }
  static v1::Event Metric(const std::string& name, double value, int64_t step) {
    v1::Event event;
    event.set_job(7);
    event.mutable_metric()->set_name(name);
    event.mutable_metric()->set_value(value);
    event.mutable_metric()->set_step(step);
    return event;
  }
  static v1::Event Text(uint32_t stream, const std::string& text) {
    v1::Event event;
    event.set_job(7);
    event.mutable_text()->set_stream(stream);
    event.mutable_text()->set_text(text);
    return event;
  }
  // The last thing drawn over the current line.
  std::string LastDrawn() const {
    const size_t at = written_.rfind("\r\x1b[K");
    return at == std::string::npos ? "" : written_.substr(at + 4);
  }
  size_t Draws() const {
    size_t count = 0;
    for (size_t at = 0; (at = written_.find("\r\x1b[Kjob", at)) != std::string::npos; ++at) ++count;
    return count;
  }

  size_t width_ = 100;
  double now_ = 1000;
  std::string written_;
};

TEST_F(WatchViewTest, LinesForProgramsAreLeftOut) {
  WatchView view = Make(/*terminal=*/false);
  v1::Event event = Log("for a programmer");
  event.mutable_log()->set_level(v1::LogLine::LEVEL_DEBUG);
  view.OnEvent(event);
  view.OnEvent(Log("for people"));
  EXPECT_EQ(written_, "  for people\n");
}

TEST_F(WatchViewTest, TextThatGrowsComesInLines) {
  WatchView view = Make(/*terminal=*/false);
  view.OnEvent(Text(0, "One, t"));
  EXPECT_EQ(written_, "");
  view.OnEvent(Text(0, "wo\nand three"));
  EXPECT_EQ(written_, "  One, two\n");
  view.OnEvent(Text(1, "Another\n"));
  view.OnEvent(State(v1::JOB_STATE_COMMITTING));
  EXPECT_EQ(written_, "  One, two\n  [1] Another\n  [0] and three\njob 7: committing\n");
}

TEST_F(WatchViewTest, PipeGetsProgressEachTenSecondsOrTenPercent) {
  WatchView view = Make(/*terminal=*/false);
  for (int i = 0; i <= 1000; ++i) {  // 100 s, of which each second is one percent.
    now_ = 1000 + i * 0.1;
    view.OnEvent(Progress(static_cast<uint64_t>(i) * 100'000, 100'000'000));
    view.Tick();
  }
  EXPECT_EQ(std::count(written_.begin(), written_.end(), '\n'), 11);
  EXPECT_THAT(written_, HasSubstr("job 7: encode 50 % (50.0 MB of 100.0 MB, 1.0 MB/s)\n"));
  EXPECT_THAT(written_, Not(HasSubstr("\r")));
  EXPECT_THAT(written_, Not(HasSubstr("\x1b")));
}

TEST_F(WatchViewTest, TerminalGetsABarWithRateAndTimeLeft) {
  WatchView view = Make(/*terminal=*/true);
  view.OnEvent(Progress(0, 100'000'000));
  now_ += 4;
  view.OnEvent(Progress(40'000'000, 100'000'000));
  EXPECT_EQ(LastDrawn(), "job 7  encode  [================>                       ]  40%  10.0 MB/s  ETA 6.0 s");
}

TEST_F(WatchViewTest, BarIsRedrawnAtMostTenTimesASecond) {
  WatchView view = Make(/*terminal=*/true);
  for (int i = 0; i < 1000; ++i) {
    now_ += 0.001;
    view.OnEvent(Progress(static_cast<uint64_t>(i), 1000));
    view.Tick();
  }
  EXPECT_LE(Draws(), 11u);
  EXPECT_GE(Draws(), 9u);
}

TEST_F(WatchViewTest, BarGoesOnWhenNothingComes) {
  WatchView view = Make(/*terminal=*/true);
  view.OnEvent(Progress(0, 0));
  now_ += 3;
  view.Tick();
  EXPECT_EQ(LastDrawn(), "job 7  encode  0 B  3.0 s");
}

TEST_F(WatchViewTest, BarFitsANarrowTerminal) {
  WatchView view = Make(/*terminal=*/true);
  for (width_ = 1; width_ < 120; ++width_) {
    written_.clear();
    now_ += 1;
    view.OnEvent(Progress(1'000'000 * width_, 900'000'000, "encode the corpus"));
    EXPECT_LT(LastDrawn().size(), std::max<size_t>(width_, 20) + 2) << width_;  // "…" has three bytes.
  }
}

TEST_F(WatchViewTest, LinesGoAboveTheBar) {
  WatchView view = Make(/*terminal=*/true);
  view.OnEvent(Progress(10, 100));
  view.OnEvent(Log("half\x1b[2Jway"));
  EXPECT_THAT(written_, HasSubstr("\r\x1b[K  half?[2Jway\n\r\x1b[Kjob 7  encode"));  // No escape gets through.
  view.End();
  EXPECT_EQ(LastDrawn(), "");
}

TEST_F(WatchViewTest, AMetricOfManyStepsStandsBesideTheBar) {
  WatchView view = Make(/*terminal=*/true);
  width_ = 80;
  for (int i = 1; i <= 5; ++i) {
    now_ += 1;
    view.OnEvent(Progress(i * 1000, 9000, "evaluate"));
    view.OnEvent(Metric("perplexity smol", 10 + i, i));
  }
  now_ += 1;
  view.Tick();
  EXPECT_THAT(LastDrawn(), AllOf(StartsWith("job 7  evaluate  [=="), HasSubstr("ETA 5.0 s  perplexity smol 15")));
  EXPECT_THAT(written_, Not(HasSubstr("\n")));
  // What it was at last stays above what follows.
  view.OnEvent(Progress(0, 40, "choices"));
  EXPECT_THAT(written_, HasSubstr("\r\x1b[K  perplexity smol 15\n"));
  EXPECT_THAT(LastDrawn(), Not(HasSubstr("perplexity")));
  view.OnEvent(Metric("accuracy smol", 0.5, 0));
  EXPECT_THAT(written_, HasSubstr("  accuracy smol 0.5\n"));
  // In a pipe each value is a line.
  written_.clear();
  WatchView pipe = Make(/*terminal=*/false);
  pipe.OnEvent(Progress(1000, 9000, "evaluate"));
  pipe.OnEvent(Metric("perplexity smol", 12, 1000));
  EXPECT_THAT(written_, HasSubstr("  perplexity smol 12 at step 1000\n"));
}

TEST_F(WatchViewTest, RateFollowsTheLastSeconds) {
  WatchView view = Make(/*terminal=*/true);
  uint64_t done = 0;
  for (int i = 0; i < 100; ++i) {
    view.OnEvent(Progress(done, 1'000'000'000));
    now_ += 0.5;
    done += i < 50 ? 10'000'000 : 1'000'000;
  }
  EXPECT_THAT(LastDrawn(), HasSubstr("2.0 MB/s"));
}

TEST_F(WatchViewTest, TheLastStateIsLeftToTheCaller) {
  WatchView view = Make(/*terminal=*/false);
  view.OnEvent(State(v1::JOB_STATE_RUNNING));
  view.OnEvent(State(v1::JOB_STATE_FAILED, "asked to fail"));
  EXPECT_EQ(written_, "job 7: running\n");
  view.OnEvent(State(v1::JOB_STATE_PENDING));  // It was retried.
  EXPECT_EQ(written_, "job 7: running\njob 7: failed: asked to fail\njob 7: pending\n");
}

TEST_F(WatchViewTest, QuietSaysNothing) {
  WatchView view = Make(/*terminal=*/true, /*quiet=*/true);
  view.OnEvent(State(v1::JOB_STATE_RUNNING));
  view.OnEvent(Progress(10, 100));
  view.OnEvent(Log("hello"));
  now_ += 10;
  view.Tick();
  EXPECT_EQ(written_, "");
}

}  // namespace
}  // namespace editd::client
