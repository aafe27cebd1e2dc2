// The texts of an evaluation, encoded for each model.
#ifndef EDITD_PLUGINS_EVALUATE_DOCUMENTS_H_
#define EDITD_PLUGINS_EVALUATE_DOCUMENTS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "plugins/evaluate/pairing.h"
#include "plugins/evaluate/subject.h"

namespace editd::evaluate {

struct Document {
  uint64_t bytes = 0;
  // For each subject: its first token, then the document's.
  std::vector<int32_t> sequence[2];
  // With two subjects: for each token of the base (sequence[0][1 + i]) the index of the other's same token, or -1.
  std::vector<int64_t> aligned;

  uint64_t tokens(int subject) const { return sequence[subject].size() - 1; }
};

class Documents {
 public:
  // One or two subjects; the first is the base. `rows` is theirs (null with one). `max_tokens` of the base's, 0: all.
  Documents(std::vector<const Subject*> subjects, const RowPairs* rows, uint64_t max_tokens);

  // Adds a text; its end is left out where max_tokens is reached, and all that comes later.
  void Add(std::string_view text);
  bool full() const { return max_tokens_ > 0 && tokens_ >= max_tokens_; }

  const std::vector<Document>& all() const { return documents_; }
  // Bytes of texts for which a subject has no token: they are not scored.
  uint64_t bytes_without_token(int subject) const { return without_token_[subject]; }

 private:
  std::vector<text::TokenSpan> Encode(int subject, std::string_view text);

  std::vector<const Subject*> subjects_;
  const RowPairs* rows_;
  uint64_t max_tokens_, tokens_ = 0;
  std::vector<std::unique_ptr<text::Encoder>> encoders_;
  std::vector<Document> documents_;
  uint64_t without_token_[2] = {};
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_DOCUMENTS_H_
