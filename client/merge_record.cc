#include "client/merge_record.h"

#include <nlohmann/json.hpp>

#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Json = nlohmann::json;

absl::Status Broken(std::string_view what) {
  return absl::InvalidArgumentError(StrCat(kMergeRecordFile, ": ", what, "; the file is not one that merge writes"));
}

// A pair [place among the inputs, tensor].
absl::StatusOr<MergedFrom> ReadFrom(const Json& inputs, const Json& pair) {
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() || !pair[1].is_string() ||
      pair[0].get<size_t>() >= inputs.size()) {
    return Broken("a tensor's source is no pair of an input and a name");
  }
  const Json& input = inputs[pair[0].get<size_t>()];
  if (!input.is_object() || !input.contains("name") || !input.contains("version") || !input["name"].is_string() ||
      !input["version"].is_string()) {
    return Broken("an input has no name and version");
  }
  MergedFrom from;
  from.input = input["name"].get<std::string>();
  from.version = input["version"].get<std::string>();
  from.tensor = pair[1].get<std::string>();
  return from;
}

}  // namespace

absl::StatusOr<MergeRecord> ReadMergeRecord(std::string_view json, std::string_view tensor) {
  const Json file = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("inputs") || !file["inputs"].is_array() || !file.contains("tensors") ||
      !file["tensors"].is_object() || !file.contains("method") || !file["method"].is_string()) {
    return Broken("no method, inputs and tensors");
  }
  const auto found = file["tensors"].find(std::string(tensor));
  if (found == file["tensors"].end() || !found->is_object()) return Broken(StrCat("no tensor \"", tensor, "\""));
  const Json& inputs = file["inputs"];
  MergeRecord record;
  record.method = file["method"].get<std::string>();
  if (found->contains("same")) {
    record.same = true;
    ASSIGN_OR_RETURN(MergedFrom from, ReadFrom(inputs, (*found)["same"]));
    record.from.push_back(std::move(from));
    return record;
  }
  if (!found->contains("from") || !(*found)["from"].is_array()) return Broken("a tensor without its sources");
  if (found->contains("base")) {
    ASSIGN_OR_RETURN(MergedFrom base, ReadFrom(inputs, (*found)["base"]));
    base.base = true;
    record.from.push_back(std::move(base));
  }
  const Json& list = (*found)["from"];
  for (size_t i = 0; i < list.size(); ++i) {
    ASSIGN_OR_RETURN(MergedFrom from, ReadFrom(inputs, list[i]));
    if (found->contains("weights") && (*found)["weights"].is_array() && i < (*found)["weights"].size() &&
        (*found)["weights"][i].is_number()) {
      from.weight = (*found)["weights"][i].get<double>();
    }
    record.from.push_back(std::move(from));
  }
  return record;
}

}  // namespace editd::client
