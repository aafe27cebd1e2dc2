#include "plugins/evaluate/documents.h"

namespace editd::evaluate {
namespace {

// Bytes of `text` that no token covers.
uint64_t Uncovered(const std::vector<text::TokenSpan>& spans, uint64_t size) {
  uint64_t covered = 0, end = 0;
  for (const text::TokenSpan& span : spans) {
    const uint64_t begin = std::max<uint64_t>(end, span.begin);
    if (span.end > begin) covered += span.end - begin;
    end = std::max<uint64_t>(end, span.end);
  }
  return size - covered;
}

}  // namespace

Documents::Documents(std::vector<const Subject*> subjects, const RowPairs* rows, uint64_t max_tokens)
    : subjects_(std::move(subjects)), rows_(rows), max_tokens_(max_tokens) {
  for (const Subject* subject : subjects_) {
    encoders_.push_back(std::make_unique<text::Encoder>(subject->tokenizer.get()));
  }
}

std::vector<text::TokenSpan> Documents::Encode(int subject, std::string_view text) {
  std::vector<text::TokenSpan> spans;
  encoders_[subject]->EncodeSpans(text, /*add_special_tokens=*/false, &spans);
  return spans;
}

void Documents::Add(std::string_view text) {
  if (full()) return;
  std::vector<text::TokenSpan> spans[2] = {Encode(0, text), {}};
  if (max_tokens_ > 0 && spans[0].size() > max_tokens_ - tokens_) {
    // Cut where the base's last token ends, or at the character before.
    size_t end = spans[0][max_tokens_ - tokens_ - 1].end;
    while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    text = text.substr(0, end);
    spans[0] = Encode(0, text);
    tokens_ = max_tokens_;
  } else {
    tokens_ += spans[0].size();
  }
  Document document;
  document.bytes = text.size();
  for (size_t s = 0; s < subjects_.size(); ++s) {
    if (s > 0) spans[s] = Encode(s, text);
    without_token_[s] += Uncovered(spans[s], text.size());
    document.sequence[s].reserve(spans[s].size() + 1);
    document.sequence[s].push_back(subjects_[s]->first_token);
    for (const text::TokenSpan& span : spans[s]) document.sequence[s].push_back(static_cast<int32_t>(span.id));
  }
  if (subjects_.size() == 2) document.aligned = AlignTokens(spans[0], spans[1], *rows_);
  documents_.push_back(std::move(document));
}

}  // namespace editd::evaluate
