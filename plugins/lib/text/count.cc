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

void TokenCounts::Add(const TokenCounts& other) {
  if (counts.size() < other.counts.size()) counts.resize(other.counts.size());
  for (size_t id = 0; id < other.counts.size(); ++id) counts[id] += other.counts[id];
  tokens += other.tokens;
  totals.documents += other.totals.documents;
  totals.bytes += other.totals.bytes;
  totals.skipped_lines += other.totals.skipped_lines;
}

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

// Of a file's lines, or of `data`, its text. With `check` that text may be no UTF-8: then *valid becomes false and the
// counts mean nothing.
absl::StatusOr<TokenCounts> Count(const Tokenizer& tokenizer, const CorpusFile& file, std::string_view data, bool check,
                                  const CountOptions& options, bool* valid) {
  TokenCounts result;
  result.counts.resize(tokenizer.size());
  const bool lines = file.json_lines();
  if (!lines) {
    result.totals.documents = 1;
    result.totals.bytes = data.size();
  }
  const std::vector<Part> parts = Cut(data, lines, tokenizer.CutsAtSpaces(), options.part_bytes);

  std::mutex mutex;
  std::atomic<size_t> next = 0;
  uint64_t done = 0;             // Guarded by mutex, as are the next two and result.
  size_t failed = parts.size();  // The first part with an error, so that the message does not depend on threads.
  absl::Status status;
  std::atomic<bool> broken = false;
  auto work = [&] {
    std::unique_ptr<Encoder> encoder = tokenizer.Borrow();
    TokenCounts mine;  // Without its counts.
    Tally tally(tokenizer.size());
    for (size_t i; (i = next++) < parts.size();) {
      const Part part = parts[i];
      absl::Status outcome;
      if (lines) {
        auto totals = ForEachLine(file, part.begin, part.end, [&](std::string_view document) {
          mine.tokens += encoder->Count(document, &tally);
          return absl::OkStatus();
        });
        outcome = totals.status();
        if (totals.ok()) {
          mine.totals.documents += totals->documents;
          mine.totals.bytes += totals->bytes;
          mine.totals.skipped_lines += totals->skipped_lines;
        }
      } else {
        const std::string_view text = data.substr(part.begin, part.end - part.begin);
        if (check && FirstInvalidUtf8(text) != text.size()) {
          broken = true;
          next = parts.size();
          break;
        }
        mine.tokens += encoder->Count(text, &tally);
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
    tally.AddTo(&result.counts);
  };
  const size_t wanted = options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  for (size_t i = 1; i < std::min(wanted, parts.size()); ++i) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  *valid = !broken;
  if (!status.ok()) return status;
  return result;
}

}  // namespace

absl::StatusOr<TokenCounts> CountTokens(const Tokenizer& tokenizer, const CorpusFile& file,
                                        const CountOptions& options) {
  // A cut is before a space, and so between two characters: what is UTF-8 in all its parts is so as a whole, and the
  // threads look at their own parts. Seldom is something found, and then all begins again.
  bool valid = true;
  auto counted = Count(tokenizer, file, file.data, /*check=*/!file.json_lines(), options, &valid);
  if (valid) return counted;
  std::string storage;
  uint64_t skipped_lines = 0;
  ASSIGN_OR_RETURN(const std::string_view text, ValidText(file, &storage, &skipped_lines));
  ASSIGN_OR_RETURN(counted, Count(tokenizer, file, text, /*check=*/false, options, &valid));
  counted->totals.skipped_lines = skipped_lines;
  return counted;
}

}  // namespace editd::text
