#include "client/file_diff.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>

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

using Vocabulary = std::unordered_map<std::string, int64_t>;

// Of a model of kind BPE or WordPiece (an object), or Unigram (a list of pairs); and the added tokens.
Vocabulary VocabularyOf(const Json& tokenizer) {
  Vocabulary tokens;
  const Json vocabulary = tokenizer.value("/model/vocab"_json_pointer, Json());
  if (vocabulary.is_object()) {
    for (const auto& [token, id] : vocabulary.items()) tokens[token] = id.is_number_integer() ? id.get<int64_t>() : -1;
  } else if (vocabulary.is_array()) {
    for (size_t i = 0; i < vocabulary.size(); ++i) {
      const Json& entry = vocabulary[i];
      if (entry.is_array() && !entry.empty() && entry[0].is_string()) {
        tokens[entry[0].get<std::string>()] = static_cast<int64_t>(i);
      }
    }
  }
  const auto added = tokenizer.find("added_tokens");
  if (added != tokenizer.end() && added->is_array()) {
    for (const Json& entry : *added) {
      if (!entry.is_object() || !entry.contains("content") || !entry["content"].is_string()) continue;
      const auto id = entry.find("id");
      tokens[entry["content"].get<std::string>()] =
          id != entry.end() && id->is_number_integer() ? id->get<int64_t>() : -1;
    }
  }
  return tokens;
}

uint64_t MergesOf(const Json& tokenizer) {
  const Json merges = tokenizer.value("/model/merges"_json_pointer, Json());
  return merges.is_array() ? merges.size() : 0;
}

// The tokens of `a` that `b` lacks, by id.
std::vector<std::string> Only(const Vocabulary& a, const Vocabulary& b) {
  std::vector<std::pair<int64_t, std::string>> tokens;
  for (const auto& [token, id] : a) {
    if (!b.contains(token)) tokens.emplace_back(id, token);
  }
  std::sort(tokens.begin(), tokens.end());
  std::vector<std::string> names;
  for (auto& [id, token] : tokens) names.push_back(std::move(token));
  return names;
}

void DropLists(Json* tokenizer) {
  tokenizer->erase("added_tokens");
  if (tokenizer->contains("model") && (*tokenizer)["model"].is_object()) {
    (*tokenizer)["model"].erase("vocab");
    (*tokenizer)["model"].erase("merges");
  }
}

}  // namespace

absl::StatusOr<std::vector<KeyChange>> CompareJson(std::string_view name, std::string_view a, std::string_view b) {
  ASSIGN_OR_RETURN(const Json a_json, Parse(name, a));
  ASSIGN_OR_RETURN(const Json b_json, Parse(name, b));
  return Compare(a_json, b_json);
}

absl::StatusOr<TokenizerDiff> CompareTokenizers(std::string_view a, std::string_view b) {
  ASSIGN_OR_RETURN(Json a_json, Parse("tokenizer.json", a));
  ASSIGN_OR_RETURN(Json b_json, Parse("tokenizer.json", b));
  if (!a_json.is_object() || !b_json.is_object()) {
    return absl::InvalidArgumentError("tokenizer.json: is no JSON object");
  }
  TokenizerDiff diff;
  const Vocabulary a_tokens = VocabularyOf(a_json);
  const Vocabulary b_tokens = VocabularyOf(b_json);
  diff.tokens_a = a_tokens.size();
  diff.tokens_b = b_tokens.size();
  diff.merges_a = MergesOf(a_json);
  diff.merges_b = MergesOf(b_json);
  diff.removed_samples = Only(a_tokens, b_tokens);
  diff.added_samples = Only(b_tokens, a_tokens);
  diff.removed = diff.removed_samples.size();
  diff.added = diff.added_samples.size();
  diff.removed_samples.resize(std::min(kSamples, diff.removed_samples.size()));
  diff.added_samples.resize(std::min(kSamples, diff.added_samples.size()));
  for (const auto& [token, id] : a_tokens) {
    const auto other = b_tokens.find(token);
    diff.renumbered += other != b_tokens.end() && other->second != id ? 1 : 0;
  }
  DropLists(&a_json);
  DropLists(&b_json);
  diff.settings = Compare(a_json, b_json);
  return diff;
}

}  // namespace editd::client
