#include "client/mergekit/reader.h"

#include <charconv>
#include <cmath>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::client {

void YamlProblems::Add(const YAML::Mark& mark, std::string_view problem) {
  StrAppend(&text_, text_.empty() ? "" : "\n", file_, ":", mark.line + 1, ": ", problem);
}

absl::Status YamlProblems::status() const {
  return text_.empty() ? absl::OkStatus() : absl::InvalidArgumentError(text_);
}

std::vector<std::pair<std::string, YAML::Node>> ReadMapping(const YAML::Node& node, std::string_view what,
                                                            std::span<const std::string> known,
                                                            YamlProblems* problems) {
  std::vector<std::pair<std::string, YAML::Node>> pairs;
  if (!node.IsMap()) {
    problems->Add(node, StrCat(what, " is a mapping of names to values"));
    return pairs;
  }
  std::set<std::string> seen;
  for (const auto& pair : node) {
    if (!pair.first.IsScalar()) {
      problems->Add(pair.first, StrCat(what, ": a name is a word"));
      continue;
    }
    const std::string& key = pair.first.Scalar();
    if (!known.empty() && std::find(known.begin(), known.end(), key) == known.end()) {
      problems->Add(pair.first, StrCat(what, " has no \"", key, "\"", DidYouMean(key, known)));
    } else if (!seen.insert(key).second) {
      problems->Add(pair.first, StrCat("\"", key, "\" stands twice in ", what));
    } else {
      pairs.emplace_back(key, pair.second);
    }
  }
  return pairs;
}

std::optional<std::string> ReadString(const YAML::Node& node, std::string_view what, YamlProblems* problems) {
  if (node.IsScalar() && !node.Scalar().empty()) return node.Scalar();
  problems->Add(node, StrCat(what, " is a string"));
  return std::nullopt;
}

std::optional<double> ReadNumber(const YAML::Node& node, std::string_view what, YamlProblems* problems) {
  double value = 0;
  if (node.IsScalar() && absl::SimpleAtod(node.Scalar(), &value) && std::isfinite(value)) return value;
  problems->Add(
      node, node.IsScalar() ? StrCat(what, ": \"", node.Scalar(), "\" is no number") : StrCat(what, " is a number"));
  return std::nullopt;
}

std::optional<bool> ReadBool(const YAML::Node& node, std::string_view what, YamlProblems* problems) {
  if (node.IsScalar()) {
    const std::string word = absl::AsciiStrToLower(node.Scalar());
    for (const char* yes : {"true", "yes", "on", "1", "1.0"}) {
      if (word == yes) return true;
    }
    for (const char* no : {"false", "no", "off", "0", "0.0"}) {
      if (word == no) return false;
    }
  }
  problems->Add(node, StrCat(what, " is true or false"));
  return std::nullopt;
}

std::optional<uint32_t> ReadCount(const YAML::Node& node, std::string_view what, YamlProblems* problems) {
  uint32_t value = 0;
  if (node.IsScalar() && absl::SimpleAtoi(node.Scalar(), &value) && value <= uint32_t{1} << 31) return value;
  problems->Add(node, StrCat(what, " is a whole number from 0 to 2147483648"));
  return std::nullopt;
}

void TextWriter::Open(std::string_view name) {
  StrAppend(&text_, indent_, name, " {\n");
  indent_ += "  ";
}

void TextWriter::Close() {
  indent_.resize(indent_.size() - 2);
  StrAppend(&text_, indent_, "}\n");
}

void TextWriter::String(std::string_view name, std::string_view value) {
  StrAppend(&text_, indent_, name, ": \"", absl::Utf8SafeCEscape(ToAbsl(value)), "\"\n");
}

void TextWriter::Word(std::string_view name, std::string_view value) {
  StrAppend(&text_, indent_, name, ": ", value, "\n");
}

void TextWriter::Number(std::string_view name, double value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  Word(name, std::string_view(digits, static_cast<size_t>(end - digits)));
}

}  // namespace editd::client
