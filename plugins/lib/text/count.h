// Counts how often each token occurs in a corpus, over threads, without keeping the tokens.
//
// The counts are exactly those of encoding each document whole, whatever the number of threads. A long text is cut for
// the threads only between a character that is no white space and a space: every splitter cuts there, and where an
// added token could lie across such a place the text is not cut (Tokenizer::CutsAtSpaces).
#ifndef EDITD_PLUGINS_LIB_TEXT_COUNT_H_
#define EDITD_PLUGINS_LIB_TEXT_COUNT_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "plugins/lib/text/corpus.h"
#include "plugins/lib/text/tokenizer.h"
#include "storage/base/status.h"

namespace editd::text {

struct TokenCounts {
  std::vector<uint64_t> counts;  // By id, tokenizer.size() of them.
  uint64_t tokens = 0;           // Their sum.
  CorpusTotals totals;

  void Add(const TokenCounts& other);
};

struct CountOptions {
  int threads = 0;  // 0: one a core.
  // Told the bytes of the file that are done, from one thread at a time; false stops the counting (CANCELLED).
  std::function<bool(uint64_t)> progress;
  size_t part_bytes = 1 << 16;  // A thread's portion of work; smaller in tests.
};

absl::StatusOr<TokenCounts> CountTokens(const Tokenizer& tokenizer, const CorpusFile& file,
                                        const CountOptions& options = {});

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_COUNT_H_
