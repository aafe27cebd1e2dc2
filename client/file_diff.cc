#include "client/file_diff.h"

#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <tuple>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
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

// A token points into the parsed document.
struct Token {
  int64_t id;
  absl::string_view text;
  bool operator<(const Token& other) const { return std::tie(id, text) < std::tie(other.id, other.text); }
};

// A tokenizer.json has megabytes of lists, which simdjson reads twenty times faster than a general reader.
struct Tokenizer {
  simdjson::dom::parser parser;  // Owns the document.
  std::vector<Token> vocabulary;
  std::vector<Token> added;  // A token may stand in both; then this id counts.
  uint64_t merges = 0;
  Json settings = Json::object();  // All but the lists.
};

// simdjson reads a little past the end, whatever stands there. Where that is in the page of the last byte, as it nearly
// always is with a mapped file, the content need not be copied to have room behind it: megabytes of fresh memory.
bool HasPadding(std::string_view content) {
  static const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t used = reinterpret_cast<uintptr_t>(content.data() + content.size()) % page;
  return used > 0 && page - used >= simdjson::SIMDJSON_PADDING;
}

absl::Status ReadTokenizer(std::string_view content, Tokenizer* tokenizer) {
  simdjson::dom::object root;
  if (tokenizer->parser.parse(content.data(), content.size(), /*realloc_if_needed=*/!HasPadding(content)).get(root) !=
      simdjson::SUCCESS) {
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
        tokenizer->vocabulary.reserve(by_token.size());
        for (const auto token : by_token) tokenizer->vocabulary.push_back({id_of(token.value), ToAbsl(token.key)});
      } else if (field.key == "vocab" && field.value.get(list) == simdjson::SUCCESS) {
        int64_t id = 0;
        for (const simdjson::dom::element entry : list) {
          std::string_view token;
          if (entry.at(0).get(token) == simdjson::SUCCESS) tokenizer->vocabulary.push_back({id, ToAbsl(token)});
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
      if (entry["content"].get(token) == simdjson::SUCCESS) {
        tokenizer->added.push_back({id_of(entry["id"]), ToAbsl(token)});
      }
    }
  }
  return absl::OkStatus();
}

// A token of b, and what it was in a.
struct Fate {
  int64_t id;
  std::optional<int64_t> before;
};

using Fates = absl::flat_hash_map<absl::string_view, Fate>;

Fates TokensOf(const Tokenizer& b) {
  Fates fates;
  fates.reserve(b.vocabulary.size() + b.added.size());
  for (const auto* list : {&b.vocabulary, &b.added}) {
    for (const Token& token : *list) fates[token.text].id = token.id;
  }
  return fates;
}

// One table of b's tokens and one walk over a's: hashing a token is what all this costs.
void CompareTokens(const Tokenizer& a, Fates fates, TokenizerDiff* diff) {
  std::vector<Token> removed;
  absl::flat_hash_set<absl::string_view> added_and_removed;
  for (const auto* list : {&a.vocabulary, &a.added}) {
    for (const Token& token : *list) {
      const auto fate = fates.find(token.text);
      if (fate != fates.end()) {
        fate->second.before = token.id;
      } else if (list == &a.vocabulary || added_and_removed.insert(token.text).second) {
        removed.push_back(token);
      }
    }
  }
  if (!added_and_removed.empty()) {  // Those that are in the vocabulary too were taken twice.
    const size_t added = added_and_removed.size();
    removed.erase(std::remove_if(removed.begin(), removed.end() - static_cast<ptrdiff_t>(added),
                                 [&](const Token& token) { return added_and_removed.contains(token.text); }),
                  removed.end() - static_cast<ptrdiff_t>(added));
  }
  std::vector<Token> added;
  for (const auto& [text, fate] : fates) {
    if (!fate.before.has_value()) {
      added.push_back({fate.id, text});
    } else {
      ++diff->tokens_a;
      diff->renumbered += *fate.before != fate.id ? 1 : 0;
    }
  }
  diff->tokens_a += removed.size();
  diff->tokens_b = fates.size();
  diff->removed = removed.size();
  diff->added = added.size();
  const auto sample = [](std::vector<Token>* tokens) {
    const size_t shown = std::min(kSamples, tokens->size());
    std::partial_sort(tokens->begin(), tokens->begin() + static_cast<ptrdiff_t>(shown), tokens->end());
    std::vector<std::string> names;
    for (size_t i = 0; i < shown; ++i) names.emplace_back((*tokens)[i].text);
    return names;
  };
  diff->removed_samples = sample(&removed);
  diff->added_samples = sample(&added);
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
  Fates fates = TokensOf(after);
  beside.join();
  RETURN_IF_ERROR(a_status);
  RETURN_IF_ERROR(b_status);
  TokenizerDiff diff;
  CompareTokens(before, std::move(fates), &diff);
  diff.merges_a = before.merges;
  diff.merges_b = after.merges;
  diff.settings = Compare(before.settings, after.settings);
  return diff;
}

}  // namespace editd::client
