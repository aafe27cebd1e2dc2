#include "client/mergekit/parameters.h"

#include "storage/base/strings.h"

namespace editd::client {
namespace {

enum class Kind { kValue, kBool, kRescale, kNone };

struct Parameter {
  const char* name;
  Kind kind;
};

// int8_mask chooses the type of a temporary of mergekit's; it never changes a result.
constexpr Parameter kParameters[] = {
    {"weight", Kind::kValue},
    {"density", Kind::kValue},
    {"gamma", Kind::kValue},
    {"epsilon", Kind::kValue},
    {"lambda", Kind::kValue},
    {"t", Kind::kValue},
    {"scale", Kind::kValue},
    {"select_topk", Kind::kValue},
    {"r", Kind::kValue},
    {"alpha", Kind::kValue},
    {"eps", Kind::kValue},
    {"max_iter", Kind::kValue},
    {"tol", Kind::kValue},
    {"normalize", Kind::kBool},
    {"nuslerp_flatten", Kind::kBool},
    {"nuslerp_row_wise", Kind::kBool},
    {"normalize_weights", Kind::kBool},
    {"filter_wise", Kind::kBool},
    {"rescale", Kind::kRescale},
    {"int8_mask", Kind::kNone},
};

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (const Parameter& parameter : kParameters) names.emplace_back(parameter.name);
  return names;
}

// One entry of a list of values: a number, or a gradient.
void WriteValue(const std::string& name, const std::string& filter, const YAML::Node& node, TextWriter* writer,
                YamlProblems* problems) {
  std::vector<double> numbers;
  if (node.IsSequence()) {
    if (node.size() == 0) problems->Add(node, StrCat(name, ": a gradient has at least one number"));
    for (const YAML::Node& item : node) {
      if (const auto number = ReadNumber(item, name, problems)) numbers.push_back(*number);
    }
  } else if (const auto number = ReadNumber(node, name, problems)) {
    numbers.push_back(*number);
  }
  writer->Open(name);
  if (!filter.empty() && filter != "*") writer->String("filter", filter);
  for (const double number : numbers) writer->Number("value", number);
  writer->Close();
}

// A mapping of a filter and a value.
void WriteFiltered(const std::string& name, const YAML::Node& item, TextWriter* writer, YamlProblems* problems) {
  static const std::vector<std::string> kKeys = {"filter", "value"};
  std::string filter;
  YAML::Node value(YAML::NodeType::Undefined);
  for (const auto& [key, child] : ReadMapping(item, "a value", kKeys, problems)) {
    if (key == "value") {
      value.reset(child);
    } else if (!child.IsNull()) {
      if (const auto text = ReadString(child, "filter", problems)) filter = *text;
    }
  }
  if (value.IsDefined()) return WriteValue(name, filter, value, writer, problems);
  if (item.IsMap()) problems->Add(item, StrCat(name, ": a filter without a \"value\""));
}

// A value, a mapping of a filter and a value, or a list of such mappings.
void WriteValues(const std::string& name, const YAML::Node& node, TextWriter* writer, YamlProblems* problems) {
  if (node.IsMap()) return WriteFiltered(name, node, writer, problems);
  if (!node.IsSequence() || node.size() == 0 || !node[0].IsMap()) return WriteValue(name, "", node, writer, problems);
  for (const YAML::Node& item : node) WriteFiltered(name, item, writer, problems);
}

}  // namespace

void WriteParameters(const YAML::Node& node, TextWriter* writer, YamlProblems* problems) {
  static const std::vector<std::string> kNames = Names();
  if (node.IsNull()) return;
  writer->Open("parameters");
  for (const auto& [key, child] : ReadMapping(node, "parameters", kNames, problems)) {
    if (child.IsNull()) continue;  // As if it were not there.
    for (const Parameter& parameter : kParameters) {
      if (key != parameter.name) continue;
      if (parameter.kind == Kind::kValue) {
        WriteValues(key, child, writer, problems);
      } else if (const auto yes = ReadBool(child, key, problems); yes && parameter.kind == Kind::kBool) {
        writer->Word(key, *yes ? "true" : "false");
      } else if (yes && parameter.kind == Kind::kRescale) {
        writer->Word(key, *yes ? "RESCALE_L1" : "RESCALE_NONE");
      }
    }
  }
  writer->Close();
}

}  // namespace editd::client
