// The texts of an evaluation, encoded for each model, and cut into windows.
#ifndef EDITD_PLUGINS_EVALUATE_DOCUMENTS_H_
#define EDITD_PLUGINS_EVALUATE_DOCUMENTS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "plugins/evaluate/settings.h"
#include "plugins/evaluate/subject.h"
#include "plugins/evaluate/windows.h"

namespace editd::evaluate {

// A document of the data; empty ones are left out.
struct Document {
  uint32_t file = 0;  // As the caller counts them.
  uint64_t line = 0;  // 0: the whole file.
  uint64_t bytes = 0, words = 0, characters = 0;
};

// What windows go over: a document, or all of them as one text.
struct Text {
  // For each subject: what comes before the text, the text's tokens, what comes after.
  std::vector<int32_t> sequence[2];
  // end[s][k]: bytes of the text up to and with sequence[s][k].
  std::vector<uint64_t> end[2];
  // The first document of it, and where each one ends, in bytes; what joins two belongs to the first.
  uint32_t first_document = 0;
  std::vector<uint64_t> document_end;
};

class Documents {
 public:
  // One or two subjects; the first is the base.
  Documents(std::vector<const Subject*> subjects, const Settings& settings);

  // Adds a document; its end is left out where max_tokens is reached, and all that comes later.
  void Add(uint32_t file, uint64_t line, std::string_view text);
  // Call once, after the last. INVALID_ARGUMENT if there is nothing to score.
  absl::Status Finish();
  bool full() const { return full_; }

  const std::vector<Document>& all() const { return documents_; }
  const std::vector<Text>& texts() const { return texts_; }
  // In the order of texts and of places in them.
  const std::vector<Window>& windows() const { return windows_; }
  // The token that goes in place of the first of each window (kLlamaCpp), or -1.
  int32_t first_of_window(int subject) const { return first_of_window_[subject]; }
  // Tokens of all texts, what is put before and after left out.
  uint64_t tokens(int subject) const { return tokens_[subject]; }
  // Bytes of texts for which a subject has no token: they are not scored.
  uint64_t bytes_without_token(int subject) const { return without_token_[subject]; }

 private:
  void AddText(std::string_view text, uint32_t first_document, std::vector<uint64_t> document_end);
  std::vector<text::TokenSpan> Encode(int subject, std::string_view text);
  // Where to cut so that no more than max_tokens are left.
  size_t CutAt(const std::vector<text::TokenSpan>& spans, std::string_view text) const;

  const std::vector<const Subject*> subjects_;
  const Settings settings_;
  std::vector<std::unique_ptr<text::Encoder>> encoders_;
  bool full_ = false;
  std::vector<Document> documents_;
  std::string joined_;
  std::vector<uint64_t> joined_end_;
  std::vector<Text> texts_;
  std::vector<Window> windows_;
  int32_t first_of_window_[2] = {-1, -1};
  uint64_t tokens_[2] = {}, without_token_[2] = {};
};

// Words as the convention counts them, and characters.
uint64_t CountWords(std::string_view text, Convention convention);
uint64_t CountCharacters(std::string_view text);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_DOCUMENTS_H_
