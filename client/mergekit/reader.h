// What the parts of the translation share: a file's problems with their lines, nodes read as what they must be, and the
// text form being written.
//
// Thread-compatible.
#ifndef EDITD_CLIENT_MERGEKIT_READER_H_
#define EDITD_CLIENT_MERGEKIT_READER_H_

#include <yaml-cpp/yaml.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/status.h"

namespace editd::client {

// Collects problems, so that all are told at once.
class YamlProblems {
 public:
  explicit YamlProblems(std::string_view file) : file_(file) {}
  void Add(const YAML::Node& node, std::string_view problem) { Add(node.Mark(), problem); }
  void Add(const YAML::Mark& mark, std::string_view problem);
  absl::Status status() const;

 private:
  std::string file_;
  std::string text_;
};

// A mapping's pairs in the file's order. Keys that are no scalars, that are not `known`, and that stand twice are
// problems and left out; so is a node that is no mapping. `what` is for messages: "a model".
std::vector<std::pair<std::string, YAML::Node>> ReadMapping(const YAML::Node& node, std::string_view what,
                                                            std::span<const std::string> known, YamlProblems* problems);

// Nothing, and a problem, if the node is none.
std::optional<std::string> ReadString(const YAML::Node& node, std::string_view what, YamlProblems* problems);
std::optional<double> ReadNumber(const YAML::Node& node, std::string_view what, YamlProblems* problems);
std::optional<bool> ReadBool(const YAML::Node& node, std::string_view what, YamlProblems* problems);
// A whole number from 0 to 2^31.
std::optional<uint32_t> ReadCount(const YAML::Node& node, std::string_view what, YamlProblems* problems);

// protobuf's text form, indented.
class TextWriter {
 public:
  void Open(std::string_view name);
  void Close();
  void String(std::string_view name, std::string_view value);
  void Word(std::string_view name, std::string_view value);  // A number, a name of an enum, true or false.
  void Number(std::string_view name, double value);          // The shortest text that reads back the same.
  std::string Take() { return std::move(text_); }

 private:
  std::string indent_;
  std::string text_;
};

}  // namespace editd::client

#endif  // EDITD_CLIENT_MERGEKIT_READER_H_
