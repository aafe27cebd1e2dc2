#include "plugins/evaluate/data.h"

#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

bool Blank(std::string_view line) { return line.find_first_not_of(" \t\r\n") == std::string_view::npos; }

// The next line from `*at` on, without its end; `*at` goes behind it.
std::string_view NextLine(std::string_view content, size_t* at) {
  const size_t begin = *at, found = content.find('\n', begin);
  *at = found == std::string_view::npos ? content.size() : found + 1;
  return content.substr(begin, (found == std::string_view::npos ? content.size() : found) - begin);
}

bool LooksLikeJsonLines(std::string_view content) {
  for (size_t at = 0; at < content.size();) {
    const std::string_view line = NextLine(content, &at);
    if (Blank(line)) continue;
    if (line[line.find_first_not_of(" \t\r")] != '{') return false;
    simdjson::dom::parser parser;
    simdjson::dom::object object;
    return parser.parse(line.data(), line.size(), true).get(object) == simdjson::SUCCESS;
  }
  return false;
}

}  // namespace

absl::Status ForEachJsonLine(const DataFile& file,
                             const std::function<absl::Status(uint64_t, const simdjson::dom::object&)>& visit) {
  RETURN_IF_ERROR(text::CheckUtf8(file.content, file.name));
  simdjson::dom::parser parser;
  uint64_t number = 0;
  for (size_t at = 0; at < file.content.size();) {
    const std::string_view line = NextLine(file.content, &at);
    ++number;
    if (Blank(line)) continue;
    const std::string where = StrCat("\"", file.name, "\" line ", number);
    simdjson::dom::element root;
    if (const auto error = parser.parse(line.data(), line.size(), true).get(root)) {
      return absl::InvalidArgumentError(StrCat(where, " is not JSON: ", simdjson::error_message(error)));
    }
    simdjson::dom::object object;
    if (root.get(object)) return absl::InvalidArgumentError(StrCat(where, " is no JSON object"));
    RETURN_IF_ERROR(Annotate(visit(number, object), where));
  }
  return absl::OkStatus();
}

absl::Status ForEachText(const DataFile& file, Form form, std::string_view field,
                         const std::function<absl::Status(uint64_t line, std::string_view text)>& visit) {
  const bool lines = form == Form::kJsonLines || (form == Form::kByContent && LooksLikeJsonLines(file.content));
  if (!lines) {
    RETURN_IF_ERROR(text::CheckUtf8(file.content, file.name));
    return visit(0, file.content);
  }
  return ForEachJsonLine(file, [&](uint64_t line, const simdjson::dom::object& object) -> absl::Status {
    std::string_view text;
    if (object[field].get(text)) {
      return absl::InvalidArgumentError(
          StrCat("there is no string \"", field, "\"; name the field that holds the text"));
    }
    return visit(line, text);
  });
}

}  // namespace editd::evaluate
