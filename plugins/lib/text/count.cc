// Why a cut between a character x that is no white space and a space changes nothing. Normalising: a space is stable
// under NFC and nothing joins it to what stands before. Splitting: no alternative of any known pattern takes a space
// after another character but within white space, so a piece ends at x, and what looks ahead (`\s+(?!\S)`) begins
// later; runs that end at x end there at the end of a text too. Digits and add_prefix_space see only pieces. Added
// tokens: none that contains such a place, takes white space on its right, or begins with a space and minds the
// character before it, or the text is not cut.
#include "plugins/lib/text/count.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

struct Part {
  size_t begin, end;
};

std::vector<Part> Cut(std::string_view data, bool lines, bool cuts, size_t part_bytes) {
  std::vector<Part> parts;
  for (size_t begin = 0; begin < data.size();) {
    size_t end = data.size();
    if (data.size() - begin > part_bytes) {
      if (lines) {
        const size_t newline = data.find('\n', begin + part_bytes);
        if (newline != std::string_view::npos) end = newline + 1;
      } else if (cuts) {
        end = SpaceAfterWord(data, begin + part_bytes);
      }
    }
    parts.push_back({begin, end});
    begin = end;
  }
  return parts;
}

}  // namespace

void TokenCounts::Add(const TokenCounts& other) {
  if (counts.size() < other.counts.size()) counts.resize(other.counts.size());
  for (size_t id = 0; id < other.counts.size(); ++id) counts[id] += other.counts[id];
  tokens += other.tokens;
  totals.documents += other.totals.documents;
  totals.bytes += other.totals.bytes;
  totals.skipped_lines += other.totals.skipped_lines;
}

absl::StatusOr<TokenCounts> CountTokens(const Tokenizer& tokenizer, const CorpusFile& file,
                                        const CountOptions& options) {
  TokenCounts result;
  result.counts.resize(tokenizer.size());
  const bool lines = file.json_lines();
  std::string storage;
  std::string_view data = file.data;
  if (!lines) {
    ASSIGN_OR_RETURN(data, ValidText(file, &storage, &result.totals.skipped_lines));
    result.totals.documents = 1;
    result.totals.bytes = data.size();
  }
  const std::vector<Part> parts = Cut(data, lines, tokenizer.CutsAtSpaces(), options.part_bytes);

  std::mutex mutex;
  std::atomic<size_t> next = 0;
  uint64_t done = 0;             // Guarded by mutex, as are the next two and result.
  size_t failed = parts.size();  // The first part with an error, so that the message does not depend on threads.
  absl::Status status;
  auto work = [&] {
    std::unique_ptr<Encoder> encoder = tokenizer.Borrow();
    TokenCounts mine;
    mine.counts.resize(tokenizer.size());
    for (size_t i; (i = next++) < parts.size();) {
      const Part part = parts[i];
      absl::Status outcome;
      if (lines) {
        auto totals = ForEachLine(file, part.begin, part.end, [&](std::string_view document) {
          mine.tokens += encoder->Count(document, mine.counts.data());
          return absl::OkStatus();
        });
        outcome = totals.status();
        if (totals.ok()) {
          mine.totals.documents += totals->documents;
          mine.totals.bytes += totals->bytes;
          mine.totals.skipped_lines += totals->skipped_lines;
        }
      } else {
        mine.tokens += encoder->Count(data.substr(part.begin, part.end - part.begin), mine.counts.data());
      }
      std::lock_guard<std::mutex> lock(mutex);
      done += part.end - part.begin;
      if (outcome.ok() && options.progress && !options.progress(done)) outcome = absl::CancelledError("stopped");
      if (!outcome.ok() && i < failed) {
        failed = i;
        status = outcome;
      }
      if (failed < parts.size()) next = parts.size();
    }
    tokenizer.GiveBack(std::move(encoder));
    std::lock_guard<std::mutex> lock(mutex);
    result.Add(mine);
  };
  const size_t wanted = options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(wanted, parts.size()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  if (!status.ok()) return status;
  return result;
}

}  // namespace editd::text
