// JsonSpans: where the values of a JSON text stand, so that an edit can replace some and keep every other byte.
//
// A tokenizer.json has hundreds of thousands of entries, and fields that we do not know. Building a tree of it and
// writing that tree again costs ten times the file in memory and changes what it should not touch. Here a value is a
// span of the text; the editor copies the spans that it does not change.
//
// The scanner checks structure (brackets, strings, commas, depth) but not the inner form of numbers and literals; run a
// full parser first where that matters. Not thread-bound: the functions have no state.
#ifndef EDITD_PLUGINS_LIB_FORMATS_JSON_SPANS_H_
#define EDITD_PLUGINS_LIB_FORMATS_JSON_SPANS_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/status.h"

namespace editd::formats {

struct JsonMember {
  std::string_view key;    // With its quotes, as it stands in the text.
  std::string_view value;  // From its first to its last character.
};

// The members of the object that `value` holds, in order. INVALID_ARGUMENT if it is no object or is broken; the message
// has the byte offset in `value`.
absl::StatusOr<std::vector<JsonMember>> JsonObject(std::string_view value);

// The elements of the array that `value` holds.
absl::StatusOr<std::vector<std::string_view>> JsonArray(std::string_view value);

// The value of member `key` (without quotes; keys with escapes do not match), or nullopt.
std::optional<std::string_view> JsonFind(const std::vector<JsonMember>& object, std::string_view key);

// A JSON string (with its quotes) without quotes and escapes, as UTF-8.
absl::StatusOr<std::string> JsonUnquote(std::string_view quoted);

// `text` as a JSON string with quotes; non-ASCII stays as it is.
std::string JsonQuote(std::string_view text);

// Replaces parts of one text. Spans must lie in it and not overlap.
class JsonSplice {
 public:
  explicit JsonSplice(std::string_view text) : text_(text) {}
  void Replace(std::string_view span, std::string replacement) {
    edits_.emplace_back(static_cast<size_t>(span.data() - text_.data()),
                        std::make_pair(span.size(), std::move(replacement)));
  }
  std::string Apply();

 private:
  std::string_view text_;
  std::vector<std::pair<size_t, std::pair<size_t, std::string>>> edits_;  // Offset, length, replacement.
};

}  // namespace editd::formats

#endif  // EDITD_PLUGINS_LIB_FORMATS_JSON_SPANS_H_
