#include "plugins/lib/formats/json_spans.h"

#include <algorithm>

#include "nlohmann/json.hpp"
#include "storage/base/strings.h"

namespace editd::formats {
namespace {

constexpr int kMaxDepth = 200;

// Walks over one text; position_ is the next byte.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  void SkipSpace() {
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
      ++position_;
    }
  }

  bool Take(char c) {
    SkipSpace();
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }

  absl::Status Expect(char c) {
    if (Take(c)) return absl::OkStatus();
    return Error(StrCat("'", std::string(1, c), "' expected"));
  }

  bool AtEnd() {
    SkipSpace();
    return position_ == text_.size();
  }

  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(StrCat("not JSON at byte ", position_, ": ", what));
  }

  absl::StatusOr<std::string_view> String() {
    SkipSpace();
    const size_t start = position_;
    if (position_ >= text_.size() || text_[position_] != '"') return Error("a string expected");
    for (++position_; position_ < text_.size(); ++position_) {
      if (text_[position_] == '\\') {
        ++position_;
      } else if (text_[position_] == '"') {
        ++position_;
        return text_.substr(start, position_ - start);
      }
    }
    return Error("a string does not end");
  }

  absl::StatusOr<std::string_view> Value(int depth = 0) {
    if (depth > kMaxDepth) return Error("nested too deeply");
    SkipSpace();
    const size_t start = position_;
    if (position_ >= text_.size()) return Error("a value expected");
    const char c = text_[position_];
    if (c == '"') {
      RETURN_IF_ERROR(String().status());
    } else if (c == '{') {
      ++position_;
      if (!Take('}')) {
        do {
          RETURN_IF_ERROR(String().status());
          RETURN_IF_ERROR(Expect(':'));
          RETURN_IF_ERROR(Value(depth + 1).status());
        } while (Take(','));
        RETURN_IF_ERROR(Expect('}'));
      }
    } else if (c == '[') {
      ++position_;
      if (!Take(']')) {
        do {
          RETURN_IF_ERROR(Value(depth + 1).status());
        } while (Take(','));
        RETURN_IF_ERROR(Expect(']'));
      }
    } else {
      while (position_ < text_.size() &&
             std::string_view(",:]}[{\" \n\r\t").find(text_[position_]) == std::string_view::npos) {
        ++position_;
      }
      if (position_ == start) return Error("a value expected");
    }
    return text_.substr(start, position_ - start);
  }

 private:
  std::string_view text_;
  size_t position_ = 0;
};

}  // namespace

absl::StatusOr<std::vector<JsonMember>> JsonObject(std::string_view value) {
  Scanner scanner(value);
  std::vector<JsonMember> members;
  RETURN_IF_ERROR(scanner.Expect('{'));
  if (!scanner.Take('}')) {
    do {
      JsonMember member;
      ASSIGN_OR_RETURN(member.key, scanner.String());
      RETURN_IF_ERROR(scanner.Expect(':'));
      ASSIGN_OR_RETURN(member.value, scanner.Value());
      members.push_back(member);
    } while (scanner.Take(','));
    RETURN_IF_ERROR(scanner.Expect('}'));
  }
  if (!scanner.AtEnd()) return scanner.Error("more after the object");
  return members;
}

absl::StatusOr<std::vector<std::string_view>> JsonArray(std::string_view value) {
  Scanner scanner(value);
  std::vector<std::string_view> elements;
  RETURN_IF_ERROR(scanner.Expect('['));
  if (!scanner.Take(']')) {
    do {
      ASSIGN_OR_RETURN(std::string_view element, scanner.Value());
      elements.push_back(element);
    } while (scanner.Take(','));
    RETURN_IF_ERROR(scanner.Expect(']'));
  }
  if (!scanner.AtEnd()) return scanner.Error("more after the array");
  return elements;
}

std::optional<std::string_view> JsonFind(const std::vector<JsonMember>& object, std::string_view key) {
  for (const JsonMember& member : object) {
    if (member.key.size() == key.size() + 2 && member.key.substr(1, key.size()) == key) return member.value;
  }
  return std::nullopt;
}

absl::StatusOr<std::string> JsonUnquote(std::string_view quoted) {
  if (quoted.size() >= 2 && quoted.front() == '"' && quoted.find('\\') == std::string_view::npos) {
    return std::string(quoted.substr(1, quoted.size() - 2));
  }
  const nlohmann::json parsed = nlohmann::json::parse(quoted, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_string()) return absl::InvalidArgumentError(StrCat("no JSON string: ", quoted.substr(0, 40)));
  return parsed.get<std::string>();
}

std::string JsonQuote(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string JsonSplice::Apply() {
  std::sort(edits_.begin(), edits_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out;
  out.reserve(text_.size());
  size_t position = 0;
  for (const auto& [offset, edit] : edits_) {
    out.append(text_.substr(position, offset - position));
    out.append(edit.second);
    position = offset + edit.first;
  }
  out.append(text_.substr(position));
  return out;
}

}  // namespace editd::formats
