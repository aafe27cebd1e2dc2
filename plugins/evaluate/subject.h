// A model under evaluation: its decoder, its tokenizer, and what both need to know of each other.
#ifndef EDITD_PLUGINS_EVALUATE_SUBJECT_H_
#define EDITD_PLUGINS_EVALUATE_SUBJECT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "plugins/lib/nn/decoder.h"
#include "plugins/lib/text/tokenizer.h"

namespace editd::evaluate {

struct Subject {
  std::string name;     // As the user wrote it.
  std::string version;  // 64 hex digits.
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<nn::Decoder> decoder;
  // Rows that take part in the soft-max: those from here on are padding.
  int64_t rows = 0;
  // Goes before each document.
  int32_t first_token = 0;
  // editd_id_map.i32: for each row the parent's id, or -1. Empty if the version has none.
  std::vector<int32_t> parent_ids;
};

// What a version gives. The views must outlive the subject's decoder.
struct SubjectFiles {
  std::string_view config_json, tokenizer_json, id_map;
  std::string_view rows_used;  // Attribute "vocab.used"; may be empty.
};

// `subject` has its name and version. Errors begin with the name.
absl::Status LoadSubject(const SubjectFiles& files, const nn::WeightSource& weights, const nn::DecoderOptions& options,
                         Subject* subject);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SUBJECT_H_
