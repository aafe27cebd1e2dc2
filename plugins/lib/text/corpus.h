// Corpora: texts that people give us to count, to keep and to measure on.
//
// A text file is one document. A file whose name ends in .jsonl is JSON lines: each line an object with the document in
// its field "text" or the one named; empty lines are skipped. Files are given as bytes (a mapping) with the name that
// their user knows.
#ifndef EDITD_PLUGINS_LIB_TEXT_CORPUS_H_
#define EDITD_PLUGINS_LIB_TEXT_CORPUS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/status.h"

namespace editd::text {

// What to do with bytes that are not UTF-8.
enum class InvalidUtf8 {
  kRefuse,    // INVALID_ARGUMENT names the file, the position and the bytes.
  kReplace,   // They are read as U+FFFD.
  kSkipLine,  // The line that has them is left out.
};

struct CorpusFile {
  std::string_view data;  // Not owned.
  std::string name;       // For messages; ".jsonl" at its end tells the form.
  InvalidUtf8 invalid = InvalidUtf8::kRefuse;
  std::string field = {};  // JSON lines: the field with the document; empty: "text". If set, the file has JSON lines.

  bool json_lines() const { return !field.empty() || name.ends_with(".jsonl"); }
};

struct CorpusTotals {
  uint64_t documents = 0;
  uint64_t bytes = 0;          // Of the documents' text.
  uint64_t skipped_lines = 0;  // By kSkipLine.
};

// Calls visit(document) for each document in order; it is UTF-8 and lives until visit returns. Stops at the first
// error.
absl::StatusOr<CorpusTotals> ForEachDocument(const CorpusFile& file,
                                             const std::function<absl::Status(std::string_view)>& visit);

// The text of a file that is one document: `file.data`, or `*storage`, set to what the policy makes of it.
absl::StatusOr<std::string_view> ValidText(const CorpusFile& file, std::string* storage, uint64_t* skipped_lines);

// Lines [begin, end) of a JSON lines file, `begin` at the start of a line; messages count bytes from the file's start.
absl::StatusOr<CorpusTotals> ForEachLine(const CorpusFile& file, size_t begin, size_t end,
                                         const std::function<absl::Status(std::string_view)>& visit);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_CORPUS_H_
