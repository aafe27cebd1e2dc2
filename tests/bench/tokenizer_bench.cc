// tokenizer_bench TOKENIZER.JSON TEXT [SECONDS]: how fast a tokenizer is read, and how fast it encodes and counts a
// text.
//
// "cold" is the first time through the text with an empty cache of pre-tokens, "warm" the best of the following ones;
// these and the loading are processor time; "clock one" and "two" (counting with one thread and two) are the clock's,
// on a quiet machine. "processor" is how much faster two threads could be at best by the processor time that they take
// together, which other programs disturb less. Counting is warm, too, and of the text as often as makes 32 MB.
// Prints one line; tests/bench/tokenizer_peers.py prints the peers' numbers of the same run beside it.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "plugins/lib/text/count.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/file.h"

namespace {

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Processor time of this thread, or of all: other programs on the machine do not show in it.
double Cpu(clockid_t of = CLOCK_THREAD_CPUTIME_ID) {
  timespec time;
  ::clock_gettime(of, &time);
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
  double cold = 0, warm = 1e9;
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
  std::string much;
  while (much.size() < 32'000'000) much += *text;
  double work[2] = {1e9, 1e9}, clock[2] = {1e9, 1e9};  // With one thread and two.
  for (int round = 0; round < 3; ++round) {
    for (const int threads : {1, 2}) {
      text::CountOptions options;
      options.threads = threads;
      const double start = Cpu(CLOCK_PROCESS_CPUTIME_ID), begin = Now();
      if (!text::CountTokens(*tokenizer, {much, "text"}, options).ok()) return 1;
      work[threads - 1] = std::min(work[threads - 1], Cpu(CLOCK_PROCESS_CPUTIME_ID) - start);
      clock[threads - 1] = std::min(clock[threads - 1], Now() - begin);
    }
  }
  const double counted = static_cast<double>(much.size()) / 1e6;
  std::printf(
      "load %.1f ms; %.2f MB, %zu tokens; MB/s: encode cold %.1f, warm %.1f; count %.1f; clock one %.1f, two %.1f; "
      "processor %.2fx\n",
      load * 1e3, megabytes, ids.size(), megabytes / cold, megabytes / warm, counted / work[0], counted / clock[0],
      counted / clock[1], 2 * work[0] / work[1]);
  return 0;
}
