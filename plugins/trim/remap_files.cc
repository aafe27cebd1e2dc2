#include "plugins/trim/remap_files.h"

#include <charconv>
#include <functional>

#include "nlohmann/json.hpp"
#include "storage/base/strings.h"

namespace editd::trim {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<Json> Parse(std::string_view file_name, std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError(StrCat(file_name, ": not a JSON object"));
  return json;
}

bool EndsWith(std::string_view s, std::string_view end) {
  return s.size() >= end.size() && s.substr(s.size() - end.size()) == end;
}

// Calls `visit(path, value)` for each value whose key says that it is one id or a list of ids.
void ForEachRole(Json* json, const std::string& path, const std::function<void(const std::string&, Json*)>& visit) {
  if (!json->is_object()) return;
  for (auto& [key, value] : json->items()) {
    const std::string below = path.empty() ? key : StrCat(path, ".", key);
    if (EndsWith(key, "_token_id") || EndsWith(key, "_token_ids") || EndsWith(key, "_token_index")) {
      visit(below, &value);
    } else {
      ForEachRole(&value, below, visit);
    }
  }
}

// An id in a config that names no token of the tokenizer: -1, or a row beyond it.
bool NamesNoToken(int64_t id, int64_t id_limit) { return id < 0 || id >= id_limit; }

absl::Status MapRole(const std::string& where, const IdMap& map, Json* value) {
  if (value->is_array()) {
    for (Json& element : *value) RETURN_IF_ERROR(MapRole(where, map, &element));
    return absl::OkStatus();
  }
  if (!value->is_number_integer()) return absl::OkStatus();
  const int64_t id = value->get<int64_t>();
  if (NamesNoToken(id, static_cast<int64_t>(map.size()))) return absl::OkStatus();
  if (map[static_cast<size_t>(id)] < 0) {
    return absl::FailedPreconditionError(
        StrCat(where, " is ", id, ", a row that has no token; correct the model's config"));
  }
  *value = map[static_cast<size_t>(id)];
  return absl::OkStatus();
}

// Maps the ids of a list of ids, of lists of ids, or of [position, id] pairs; an entry with an id that is gone is
// dropped.
void MapList(const IdMap& map, bool pairs, Json* list) {
  if (!list->is_array()) return;
  const auto map_one = [&map](Json* id) {
    if (!id->is_number_integer()) return true;
    const int64_t old = id->get<int64_t>();
    if (NamesNoToken(old, static_cast<int64_t>(map.size()))) return true;
    *id = map[static_cast<size_t>(old)];
    return map[static_cast<size_t>(old)] >= 0;
  };
  Json kept = Json::array();
  for (Json& entry : *list) {
    bool stays = true;
    if (entry.is_array()) {
      for (size_t i = pairs ? 1 : 0; i < entry.size(); ++i) stays = map_one(&entry[i]) && stays;
    } else {
      stays = map_one(&entry);
    }
    if (stays) kept.push_back(std::move(entry));
  }
  *list = std::move(kept);
}

void MapListsAndSizes(const IdMap& map, int64_t old_rows, int64_t rows, Json* json) {
  for (auto& [key, value] : json->items()) {
    if (key == "vocab_size" && value.is_number_integer() && value.get<int64_t>() == old_rows) {
      value = rows;
    } else if (key == "suppress_tokens" || key == "begin_suppress_tokens" || key == "bad_words_ids" ||
               key == "force_words_ids") {
      MapList(map, /*pairs=*/false, &value);
    } else if (key == "forced_decoder_ids") {
      MapList(map, /*pairs=*/true, &value);
    } else if (value.is_object()) {
      MapListsAndSizes(map, old_rows, rows, &value);
    }
  }
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ConfigTokenIds(std::string_view file_name, std::string_view json,
                                                    int32_t id_limit) {
  ASSIGN_OR_RETURN(Json config, Parse(file_name, json));
  std::vector<int32_t> ids;
  const std::function<void(const std::string&, Json*)> collect = [&](const std::string& path, Json* value) {
    if (value->is_array()) {
      for (Json& element : *value) collect(path, &element);
    } else if (value->is_number_integer() && !NamesNoToken(value->get<int64_t>(), id_limit)) {
      ids.push_back(value->get<int32_t>());
    }
  };
  ForEachRole(&config, "", collect);
  return ids;
}

absl::StatusOr<std::string> RemapConfig(std::string_view file_name, std::string_view json, const IdMap& map,
                                        int64_t old_rows, int64_t rows) {
  ASSIGN_OR_RETURN(Json config, Parse(file_name, json));
  absl::Status status;
  ForEachRole(&config, "", [&](const std::string& path, Json* value) {
    if (status.ok()) status = MapRole(StrCat(file_name, ": ", path), map, value);
  });
  RETURN_IF_ERROR(status);
  MapListsAndSizes(map, old_rows, rows, &config);
  return config.dump(2) + "\n";
}

absl::StatusOr<std::string> RemapTokenizerConfig(std::string_view json, const IdMap& map) {
  ASSIGN_OR_RETURN(Json config, Parse("tokenizer_config.json", json));
  if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
    Json decoder = Json::object();
    for (auto& [key, token] : config["added_tokens_decoder"].items()) {
      int32_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= static_cast<int32_t>(map.size())) {
        return absl::InvalidArgumentError(
            StrCat("tokenizer_config.json: added_tokens_decoder: \"", key, "\" is no id of tokenizer.json's"));
      }
      if (map[static_cast<size_t>(id)] >= 0) decoder[StrCat(map[static_cast<size_t>(id)])] = std::move(token);
    }
    config["added_tokens_decoder"] = std::move(decoder);
  }
  return config.dump(2) + "\n";
}

absl::StatusOr<std::string> RemapTokenIds(std::string_view file_name, std::string_view json, const IdMap& map) {
  const auto members = formats::JsonObject(json.substr(0, json.find_last_not_of(" \t\r\n") + 1));
  if (!members.ok()) return Annotate(members.status(), file_name);
  std::string out = "{";
  const char* separator = "\n  ";
  for (const formats::JsonMember& member : *members) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(member.value.data(), member.value.data() + member.value.size(), id);
    if (error != std::errc() || id < 0 || id >= static_cast<int32_t>(map.size())) {
      return absl::InvalidArgumentError(
          StrCat(file_name, ": ", member.key, ": ", member.value.substr(0, 20), " is no id of tokenizer.json's"));
    }
    if (map[static_cast<size_t>(id)] < 0) continue;
    StrAppend(&out, separator, member.key, ": ", map[static_cast<size_t>(id)]);
    separator = ",\n  ";
  }
  return out + "\n}\n";
}

absl::StatusOr<std::string> RemapMerges(std::string_view text, const TokenizerFile& file, const IdMap& map) {
  std::string out;
  int line_number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++line_number;
    if (line.empty() || (line_number == 1 && line.substr(0, 8) == "#version")) {
      StrAppend(&out, line, "\n");
      continue;
    }
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) {
      return absl::InvalidArgumentError(StrCat("merges.txt: line ", line_number, ": two tokens expected"));
    }
    const std::string left(line.substr(0, space));
    const std::string right(line.substr(space + 1));
    const Merge merge = {file.Find(left), file.Find(right), file.Find(left + right)};
    if (merge.left < 0 || merge.right < 0 || merge.result < 0) {
      return absl::InvalidArgumentError(
          StrCat("merges.txt: line ", line_number, ": \"", line, "\" is not made of tokenizer.json's tokens"));
    }
    if (TokenizerFile::Keeps(map, merge)) StrAppend(&out, line, "\n");
  }
  return out;
}

}  // namespace editd::trim
