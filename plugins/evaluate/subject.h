// A model under evaluation: its decoder, its tokenizer, and what both need to know of each other.
#ifndef EDITD_PLUGINS_EVALUATE_SUBJECT_H_
#define EDITD_PLUGINS_EVALUATE_SUBJECT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/nn/compare.h"
#include "plugins/lib/nn/decoder.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::evaluate {

struct Subject {
  std::string name;            // As the user wrote it.
  std::string version;         // 64 hex digits.
  std::string tokenizer_hash;  // SHA-256 of tokenizer.json.
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<nn::Decoder> decoder;
  // Rows that take part in the soft-max. All of the head's, or without padding: those below what
  // tokenizer and attribute "vocab.used" name.
  int64_t rows = 0;
  // Goes before each document.
  int32_t first_token = 0;
  // The same as lm-evaluation-harness chooses it: the beginning, else the end, that tokenizer_config.json names.
  int32_t first_token_of_lm_eval = 0;
  // Rows whose probability is summed up beside the scores, ascending; nothing: not asked for.
  std::optional<std::vector<int32_t>> marked_rows;
  // editd_id_map.i32: for each row the parent's id, or -1. Empty if the version has none.
  std::vector<int32_t> parent_ids;

  // What each row's token begins with: nn::kNoByte for special tokens and rows without a token.
  std::vector<uint16_t> Begins() const;
};

// What a version gives. The views must outlive the subject's decoder.
struct SubjectFiles {
  std::string_view config_json, tokenizer_json, id_map;
  std::string_view tokenizer_config_json, special_tokens_map_json;  // May be empty.
  std::string_view rows_used;                                       // Attribute "vocab.used"; may be empty.
};

// `subject` has its name and version. `padding`: padding rows take part in the soft-max. Errors begin with the name.
absl::Status LoadSubject(const SubjectFiles& files, const nn::WeightSource& weights, const nn::DecoderOptions& options,
                         bool padding, Subject* subject);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SUBJECT_H_
