#include "client/measured.h"

#include <algorithm>

#include "absl/strings/str_split.h"
#include "storage/base/status.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Json = nlohmann::json;

bool Has(const Json& line, const char* key, Json::value_t type) {
  const auto found = line.find(key);
  return found != line.end() && found->type() == type;
}

}  // namespace

bool IsMeasuredFile(std::string_view name) {
  return name == kMeasuredDocuments || std::any_of(std::begin(kMeasuredQuestions), std::end(kMeasuredQuestions),
                                                   [&](const auto& entry) { return name == entry[0]; });
}

absl::StatusOr<MeasuredFile> ParseMeasured(std::string_view content) {
  MeasuredFile out;
  for (const absl::string_view line : absl::StrSplit(ToAbsl(content), '\n', absl::SkipEmpty())) {
    Json json = Json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
    const bool head = out.head.is_null();
    bool good = json.is_object();
    if (good && head) {
      good = Has(json, "models", Json::value_t::array);
    } else if (good && Has(out.head, "metrics", Json::value_t::array)) {
      for (const Json& metric : out.head["metrics"]) {
        good =
            good && metric.is_string() && Has(json, metric.get_ref<const std::string&>().c_str(), Json::value_t::array);
      }
      good = good && Has(json, "file", Json::value_t::string) && json.value("line", Json()).is_number();
    } else if (good) {
      good = Has(json, "nll", Json::value_t::array) && Has(json, "scored", Json::value_t::array);
    }
    if (!good) return absl::DataLossError("cannot be read");
    if (head) {
      out.head = std::move(json);
    } else {
      out.lines.push_back(std::move(json));
    }
  }
  if (out.head.is_null()) return absl::DataLossError("cannot be read");
  return out;
}

double EntryOf(const Json& line, const std::string& key, size_t i) {
  const auto list = line.find(key);
  return list != line.end() && list->is_array() && i < list->size() && (*list)[i].is_number() ? (*list)[i].get<double>()
                                                                                              : 0;
}

absl::StatusOr<std::vector<QuestionDifference>> CompareQuestions(const MeasuredFile files[2], const size_t input[2]) {
  const auto same = [](const Json& a, const Json& b) {
    return a.value("line", Json()) == b.value("line", Json()) && a.value("answer", Json()) == b.value("answer", Json());
  };
  if (files[0].head.value("metrics", Json()) != files[1].head.value("metrics", Json()) ||
      !std::equal(files[0].lines.begin(), files[0].lines.end(), files[1].lines.begin(), files[1].lines.end(), same)) {
    return absl::FailedPreconditionError("the two measurements have different questions; measure both with one spec");
  }
  std::vector<QuestionDifference> out;
  for (const Json& metric : files[0].head.value("metrics", Json::array())) {
    QuestionDifference& difference = out.emplace_back();
    difference.metric = metric.get<std::string>();
    std::vector<ValuePair> pairs;
    for (size_t i = 0; i < files[0].lines.size(); ++i) {
      ValuePair& pair = pairs.emplace_back();
      for (size_t side = 0; side < 2; ++side) {
        pair.value[side] = EntryOf(files[side].lines[i], difference.metric, input[side]);
      }
      if (pair.value[0] != pair.value[1]) difference.changed.push_back(i);
    }
    difference.paired = CompareMeans(pairs);
  }
  return out;
}

}  // namespace editd::client
