#include "client/file_diff.h"

#include <simdjson.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

using Json = nlohmann::json;

constexpr size_t kSamples = 8;
constexpr int kDepthLimit = 64;

absl::StatusOr<Json> Parse(std::string_view name, std::string_view content) {
  Json json = Json::parse(content.begin(), content.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError(StrCat(name, ": is not JSON"));
  return json;
}

std::string Dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Objects by their keys, arrays as one value.
void Flatten(const Json& json, const std::string& prefix, int depth, std::map<std::string, std::string>* out) {
  if (!json.is_object() || json.empty() || depth > kDepthLimit) {
    (*out)[prefix] = Dump(json);
    return;
  }
  for (const auto& [key, value] : json.items()) {
    Flatten(value, prefix.empty() ? key : StrCat(prefix, ".", key), depth + 1, out);
  }
}

std::vector<KeyChange> Compare(const Json& a, const Json& b) {
  std::map<std::string, std::string> a_keys;
  std::map<std::string, std::string> b_keys;
  Flatten(a, "", 0, &a_keys);
  Flatten(b, "", 0, &b_keys);
  std::vector<KeyChange> changes;
  for (const auto& [key, value] : a_keys) {
    const auto other = b_keys.find(key);
    const std::string after = other == b_keys.end() ? "" : other->second;
    if (value != after) changes.push_back({key, value, after});
  }
  for (const auto& [key, value] : b_keys) {
    if (!a_keys.contains(key)) changes.push_back({key, "", value});
  }
  std::stable_sort(changes.begin(), changes.end(), [](const auto& x, const auto& y) { return x.key < y.key; });
  return changes;
}

// The tokens point into the parsed document.
using Vocabulary = absl::flat_hash_map<absl::string_view, int64_t>;

// A tokenizer.json has megabytes of lists, which simdjson reads twenty times faster than a general reader.
struct Tokenizer {
  simdjson::dom::parser parser;  // Owns the document.
  Vocabulary tokens;
  uint64_t merges = 0;
  Json settings = Json::object();  // All but the lists.
};

absl::Status ReadTokenizer(std::string_view content, Tokenizer* tokenizer) {
  simdjson::dom::object root;
  if (tokenizer->parser.parse(content.data(), content.size()).get(root) != simdjson::SUCCESS) {
    return absl::InvalidArgumentError("tokenizer.json: is no JSON object");
  }
  const auto settings_of = [](simdjson::dom::element value) {
    return Json::parse(simdjson::minify(value), nullptr, /*allow_exceptions=*/false);
  };
  const auto id_of = [](auto value) {  // An element, or the result of looking for one.
    int64_t id;
    return value.get(id) == simdjson::SUCCESS ? id : -1;
  };
  for (const auto field : root) {
    simdjson::dom::object model;
    if (field.key == "added_tokens" || (field.key == "model" && field.value.get(model) == simdjson::SUCCESS)) continue;
    tokenizer->settings[std::string(field.key)] = settings_of(field.value);
  }
  // Of kind BPE or WordPiece an object, of Unigram a list of pairs.
  simdjson::dom::object model;
  if (root["model"].get(model) == simdjson::SUCCESS) {
    for (const auto field : model) {
      simdjson::dom::object by_token;
      simdjson::dom::array list;
      if (field.key == "vocab" && field.value.get(by_token) == simdjson::SUCCESS) {
        tokenizer->tokens.reserve(by_token.size());
        for (const auto token : by_token) tokenizer->tokens[ToAbsl(token.key)] = id_of(token.value);
      } else if (field.key == "vocab" && field.value.get(list) == simdjson::SUCCESS) {
        int64_t id = 0;
        for (const simdjson::dom::element entry : list) {
          std::string_view token;
          if (entry.at(0).get(token) == simdjson::SUCCESS) tokenizer->tokens[ToAbsl(token)] = id;
          ++id;
        }
      } else if (field.key == "merges" && field.value.get(list) == simdjson::SUCCESS) {
        for (auto merge = list.begin(); merge != list.end(); ++merge) ++tokenizer->merges;  // size() saturates.
      } else {
        tokenizer->settings["model"][std::string(field.key)] = settings_of(field.value);
      }
    }
  }
  simdjson::dom::array added;
  if (root["added_tokens"].get(added) == simdjson::SUCCESS) {
    for (const simdjson::dom::element entry : added) {
      std::string_view token;
      if (entry["content"].get(token) == simdjson::SUCCESS) tokenizer->tokens[ToAbsl(token)] = id_of(entry["id"]);
    }
  }
  return absl::OkStatus();
}

// The first few tokens of `a` that `b` lacks, by id; `count` gets how many there are.
std::vector<std::string> Only(const Vocabulary& a, const Vocabulary& b, uint64_t* count) {
  std::vector<std::pair<int64_t, absl::string_view>> tokens;
  for (const auto& [token, id] : a) {
    if (!b.contains(token)) tokens.emplace_back(id, token);
  }
  *count = tokens.size();
  const size_t shown = std::min(kSamples, tokens.size());
  std::partial_sort(tokens.begin(), tokens.begin() + static_cast<ptrdiff_t>(shown), tokens.end());
  std::vector<std::string> names;
  for (size_t i = 0; i < shown; ++i) names.emplace_back(tokens[i].second);
  return names;
}

}  // namespace

absl::StatusOr<std::vector<KeyChange>> CompareJson(std::string_view name, std::string_view a, std::string_view b) {
  ASSIGN_OR_RETURN(const Json a_json, Parse(name, a));
  ASSIGN_OR_RETURN(const Json b_json, Parse(name, b));
  return Compare(a_json, b_json);
}

absl::StatusOr<TokenizerDiff> CompareTokenizers(std::string_view a, std::string_view b) {
  Tokenizer before;
  Tokenizer after;
  absl::Status a_status;
  std::thread beside([&] { a_status = ReadTokenizer(a, &before); });
  const absl::Status b_status = ReadTokenizer(b, &after);
  beside.join();
  RETURN_IF_ERROR(a_status);
  RETURN_IF_ERROR(b_status);
  TokenizerDiff diff;
  diff.tokens_a = before.tokens.size();
  diff.tokens_b = after.tokens.size();
  diff.merges_a = before.merges;
  diff.merges_b = after.merges;
  diff.removed_samples = Only(before.tokens, after.tokens, &diff.removed);
  diff.added_samples = Only(after.tokens, before.tokens, &diff.added);
  for (const auto& [token, id] : before.tokens) {
    const auto other = after.tokens.find(token);
    diff.renumbered += other != after.tokens.end() && other->second != id ? 1 : 0;
  }
  diff.settings = Compare(before.settings, after.settings);
  return diff;
}

}  // namespace editd::client
