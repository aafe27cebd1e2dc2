#include "plugins/lib/text/corpus.h"

#include <simdjson.h>

#include <algorithm>

#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

constexpr std::string_view kAdvice =
    "; convert it, or set invalid_utf8 to INVALID_UTF8_REPLACE or INVALID_UTF8_SKIP_LINE";

absl::Status NotUtf8(const CorpusFile& file, size_t end) {
  const absl::Status status = CheckUtf8(file.data.substr(0, end), file.name);
  return absl::InvalidArgumentError(StrCat(ToStd(status.message()), kAdvice));
}

// "\"chat.jsonl\" line 17 (byte 48213)"
std::string LineName(const CorpusFile& file, size_t at) {
  const auto line = std::count(file.data.begin(), file.data.begin() + static_cast<ptrdiff_t>(at), '\n') + 1;
  return StrCat("\"", file.name, "\" line ", line, " (byte ", at, ")");
}

size_t LineEnd(std::string_view data, size_t begin, size_t end) {
  const size_t at = data.find('\n', begin);
  return at == std::string_view::npos || at + 1 > end ? end : at + 1;
}

bool Blank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

}  // namespace

absl::StatusOr<std::string_view> ValidText(const CorpusFile& file, std::string* storage, uint64_t* skipped_lines) {
  const size_t bad = FirstInvalidUtf8(file.data);
  if (bad == file.data.size()) return file.data;
  if (file.invalid == InvalidUtf8::kRefuse) return NotUtf8(file, file.data.size());
  if (file.invalid == InvalidUtf8::kReplace) {
    *storage = Utf8Lossy(file.data);
    return *storage;
  }
  storage->clear();
  for (size_t at = 0; at < file.data.size();) {
    const size_t end = LineEnd(file.data, at, file.data.size());
    const std::string_view line = file.data.substr(at, end - at);
    if (FirstInvalidUtf8(line) == line.size()) {
      storage->append(line);
    } else {
      ++*skipped_lines;
    }
    at = end;
  }
  return *storage;
}

absl::StatusOr<CorpusTotals> ForEachLine(const CorpusFile& file, size_t begin, size_t end,
                                         const std::function<absl::Status(std::string_view)>& visit) {
  CorpusTotals totals;
  const std::string field = file.field.empty() ? "text" : file.field;
  simdjson::dom::parser parser;
  std::string repaired;
  for (size_t at = begin; at < end;) {
    const size_t next = LineEnd(file.data, at, end);
    std::string_view line = file.data.substr(at, next - at);
    const size_t line_begin = at;
    at = next;
    if (Blank(line)) continue;
    if (FirstInvalidUtf8(line) != line.size()) {
      if (file.invalid == InvalidUtf8::kRefuse) return NotUtf8(file, next);
      if (file.invalid == InvalidUtf8::kSkipLine) {
        ++totals.skipped_lines;
        continue;
      }
      repaired = Utf8Lossy(line);
      line = repaired;
    }
    simdjson::dom::element root;
    std::string_view text;
    if (const auto error = parser.parse(line.data(), line.size(), true).get(root)) {
      return absl::InvalidArgumentError(
          StrCat(LineName(file, line_begin), " is not JSON: ", simdjson::error_message(error)));
    }
    if (root[field].get(text)) {
      return absl::InvalidArgumentError(
          StrCat(LineName(file, line_begin), " has no string \"", field, "\"; each line is an object with that field"));
    }
    ++totals.documents;
    totals.bytes += text.size();
    RETURN_IF_ERROR(visit(text));
  }
  return totals;
}

absl::StatusOr<CorpusTotals> ForEachDocument(const CorpusFile& file,
                                             const std::function<absl::Status(std::string_view)>& visit) {
  if (file.json_lines()) return ForEachLine(file, 0, file.data.size(), visit);
  CorpusTotals totals;
  std::string storage;
  ASSIGN_OR_RETURN(const std::string_view text, ValidText(file, &storage, &totals.skipped_lines));
  totals.documents = 1;
  totals.bytes = text.size();
  RETURN_IF_ERROR(visit(text));
  return totals;
}

}  // namespace editd::text
