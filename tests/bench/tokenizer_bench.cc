// tokenizer_bench TOKENIZER.JSON TEXT [SECONDS]: how fast a tokenizer is read, and how fast it encodes and counts a
// text.
//
// "cold" is the first time through the text with an empty cache of pre-tokens, "warm" the best of the following ones;
// these and the loading are processor time; "clock one" and "two" (counting with one thread and two) are the clock's.
// Prints one line; tests/bench/tokenizer_peers.py prints the peers' numbers of the same run beside it.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "plugins/lib/text/count.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/file.h"

namespace {

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Processor time of this thread: other programs on the machine do not show in it.
double Cpu() {
  timespec time;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace editd;
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s TOKENIZER.JSON TEXT [SECONDS]\n", argv[0]);
    return 2;
  }
  const double seconds = argc > 3 ? std::atof(argv[3]) : 1;
  auto json = ReadWholeFile(argv[1]);
  auto text = ReadWholeFile(argv[2]);
  if (!json.ok() || !text.ok()) {
    std::fprintf(stderr, "%s %s\n", json.status().ToString().c_str(), text.status().ToString().c_str());
    return 1;
  }
  double load = 1e9;
  std::unique_ptr<text::Tokenizer> tokenizer;
  for (int i = 0; i < 3; ++i) {
    const double start = Cpu();
    auto loaded = text::Tokenizer::FromJson(*json);
    if (!loaded.ok()) {
      std::fprintf(stderr, "%s\n", loaded.status().ToString().c_str());
      return 1;
    }
    tokenizer = *std::move(loaded);
    load = std::min(load, Cpu() - start);
  }
  const double megabytes = static_cast<double>(text->size()) / 1e6;
  text::Encoder encoder(tokenizer.get());
  std::vector<text::TokenId> ids;
  double cold = 0, warm = 1e9, count = 1e9, one_thread = 1e9, two_threads = 1e9;
  for (double begin = Now(); Now() - begin < seconds || warm == 1e9;) {
    ids.clear();
    const double start = Cpu();
    encoder.Encode(*text, false, &ids);
    const double took = Cpu() - start;
    if (cold == 0) {
      cold = took;
    } else {
      warm = std::min(warm, took);
    }
  }
  for (double begin = Now(); Now() - begin < seconds || two_threads == 1e9;) {
    const text::CorpusFile file{*text, "text"};
    text::CountOptions options;
    for (options.threads = 1; options.threads <= 2; ++options.threads) {
      double& best = options.threads == 1 ? one_thread : two_threads;
      const double start = Cpu(), clock = Now();
      if (!text::CountTokens(*tokenizer, file, options).ok()) return 1;
      if (options.threads == 1) count = std::min(count, Cpu() - start);
      best = std::min(best, Now() - clock);
    }
  }
  std::printf(
      "load %.1f ms; %.2f MB, %zu tokens; MB/s: encode cold %.1f, warm %.1f; count %.1f; clock one %.1f, two %.1f\n",
      load * 1e3, megabytes, ids.size(), megabytes / cold, megabytes / warm, megabytes / count, megabytes / one_thread,
      megabytes / two_threads);
  return 0;
}
