// Differences between two versions' files: JSON by keys, a tokenizer by what its vocabulary and merges are, all else by
// size.
#ifndef EDITD_CLIENT_FILE_DIFF_H_
#define EDITD_CLIENT_FILE_DIFF_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/status.h"

namespace editd::client {

// One key of a JSON file; "rope_scaling.factor". Values are JSON; empty: the key is not there.
struct KeyChange {
  std::string key;
  std::string a;
  std::string b;
};

// In the order of keys. INVALID_ARGUMENT if one is no JSON; `name` is for messages.
absl::StatusOr<std::vector<KeyChange>> CompareJson(std::string_view name, std::string_view a, std::string_view b);

// What differs between two tokenizer.json.
struct TokenizerDiff {
  uint64_t tokens_a = 0;  // Added tokens included.
  uint64_t tokens_b = 0;
  uint64_t merges_a = 0;
  uint64_t merges_b = 0;
  uint64_t added = 0;                      // Tokens that only b has.
  uint64_t removed = 0;                    // Tokens that only a has.
  uint64_t renumbered = 0;                 // Tokens that both have under different ids.
  std::vector<std::string> added_samples;  // The first few, by id.
  std::vector<std::string> removed_samples;
  std::vector<KeyChange> settings;  // All but vocabulary, merges and added tokens.
};

absl::StatusOr<TokenizerDiff> CompareTokenizers(std::string_view a, std::string_view b);

}  // namespace editd::client

#endif  // EDITD_CLIENT_FILE_DIFF_H_
