#include "plugins/merge/parameters.h"

#include <algorithm>
#include <cmath>

#include "plugins/merge/methods.h"
#include "storage/base/nearest.h"
#include "storage/base/strings.h"

namespace editd::merge {
namespace {

struct Bounds {
  std::string_view parameter;
  double least, most;
  bool least_excluded;
  std::string_view text;
};
constexpr double kMost = 1e30;
constexpr Bounds kBounds[] = {
    {"density", 0, 1, true, "a density is above 0 and at most 1"},
    {"gamma", 0, 1, false, "gamma is from 0 to 1"},
    {"epsilon", 0, kMost, false, "epsilon is not below 0"},
    {"t", 0, kMost, false, "t is not below 0"},
    {"select_topk", 0, 1, true, "select_topk is above 0 and at most 1"},
    {"eps", 0, kMost, false, "eps is not below 0"},
    {"tol", 0, kMost, false, "tol is not below 0"},
    {"max_iter", 1, 100000, false, "max_iter is from 1 to 100000"},
    {"r", 0, kMost, false, "r is not below 0"},
    {"alpha", 0, kMost, false, "alpha is not below 0"},
};

void CheckNumber(const std::string& parameter, double value, const std::string& path, Findings* findings) {
  if (!std::isfinite(value) || std::fabs(value) > kMost) {
    findings->Add(path, StrCat(value, " is no number to calculate with"));
    return;
  }
  for (const Bounds& bounds : kBounds) {
    if (bounds.parameter != parameter) continue;
    if (value > bounds.most || value < bounds.least || (bounds.least_excluded && value <= bounds.least)) {
      findings->Add(path, StrCat(value, " is out of range; ", bounds.text));
    }
  }
}

}  // namespace

void Findings::Add(std::string_view field, std::string_view message) { AddFor(field, message, message); }

void Findings::AddFor(std::string_view field, std::string_view kind, std::string_view message) {
  const Key key{field, kind};
  Finding& finding = findings_[key];
  if (finding.count++ > 0) return;
  finding.message = message;
  order_.push_back(key);
}

std::vector<std::pair<std::string, std::string>> Findings::All() const {
  std::vector<std::pair<std::string, std::string>> all;
  for (const Key& key : order_) {
    const Finding& finding = findings_.at(key);
    const bool of_tensors = key.second != finding.message && finding.count > 1;
    all.emplace_back(key.first,
                     of_tensors ? StrCat(finding.message, " (and so ", finding.count - 1, " more)") : finding.message);
  }
  return all;
}

std::optional<double> ValueAt(const google::protobuf::RepeatedPtrField<v1::Value>& values, const Place& place) {
  for (const v1::Value& value : values) {
    const std::string& filter = value.filter();
    if (!filter.empty() && filter != "*" && place.tensor.find(filter) == std::string_view::npos) continue;
    if (value.value().empty()) continue;
    const int last = value.value_size() - 1;
    if (last == 0 || place.layer < 0) return value.value(0);
    if (place.layers <= 1) return value.value(last);
    const double at = static_cast<double>(place.layer) / static_cast<double>(place.layers - 1) * last;
    const int before = std::min(static_cast<int>(at), last - 1);
    const double part = at - before;
    return (1 - part) * value.value(before) + part * value.value(before + 1);
  }
  return std::nullopt;
}

void CheckScope(const Scope& scope, v1::Method method, const std::set<std::string>& names, Findings* findings) {
  const google::protobuf::Message& message = *scope.parameters;
  const google::protobuf::Reflection* reflection = message.GetReflection();
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  const std::vector<std::string> known = ParametersOf(method);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    const std::string path = StrCat(scope.path, ".", field->name());
    if (std::find(known.begin(), known.end(), field->name()) == known.end()) {
      findings->Add(
          path, StrCat("the method ", MethodName(method), " has no such parameter", DidYouMean(field->name(), known)));
      continue;
    }
    if (!field->is_repeated()) continue;
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      // Every repeated field of Parameters is of this type.
      const auto& value = static_cast<const v1::Value&>(reflection->GetRepeatedMessage(message, field, i));
      const std::string at = StrCat(path, "[", i, "]");
      if (value.value().empty()) findings->Add(StrCat(at, ".value"), "has no number");
      for (int k = 0; k < value.value_size(); ++k) {
        CheckNumber(field->name(), value.value(k), StrCat(at, ".value[", k, "]"), findings);
      }
      const std::string& filter = value.filter();
      if (filter.empty() || filter == "*" || names.empty()) continue;
      const bool matches = std::any_of(names.begin(), names.end(),
                                       [&](const std::string& name) { return name.find(filter) != std::string::npos; });
      if (!matches) findings->Add(StrCat(at, ".filter"), StrCat("\"", filter, "\" is in no tensor's name"));
    }
  }
}

}  // namespace editd::merge
