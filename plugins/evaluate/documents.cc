#include "plugins/evaluate/documents.h"

#include <algorithm>

#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::evaluate {
namespace {

constexpr std::string_view kJoint = "\n\n";  // Between documents of one text, as transformers' page has it.

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

// Python's str.isspace, which `\s` of its re is.
bool IsSpace(uint32_t c) { return (c >= 0x1c && c <= 0x1f) || (text::CodePointFlags()[c] & text::kSpace) != 0; }

}  // namespace

uint64_t CountWords(std::string_view text, Convention convention) {
  uint64_t words = 0, gaps = 0;
  bool in_word = false, in_gap = false;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    int length = 1;
    const bool space = IsSpace(text::DecodeUtf8(p, end, &length));
    words += !space && !in_word;
    gaps += space && !in_gap;
    in_word = !space;
    in_gap = space;
    p += length;
  }
  return convention == Convention::kLmEval ? gaps + 1 : words;
}

uint64_t CountCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

Documents::Documents(std::vector<const Subject*> subjects, const Settings& settings)
    : subjects_(std::move(subjects)), settings_(settings) {
  for (size_t s = 0; s < subjects_.size(); ++s) {
    encoders_.push_back(std::make_unique<text::Encoder>(subjects_[s]->tokenizer.get()));
    if (settings_.convention == Convention::kLlamaCpp && !subjects_[s]->tokenizer->prefix().empty()) {
      first_of_window_[s] = static_cast<int32_t>(subjects_[s]->tokenizer->prefix()[0]);
    }
  }
}

std::vector<text::TokenSpan> Documents::Encode(int subject, std::string_view text) {
  std::vector<text::TokenSpan> spans;
  encoders_[subject]->EncodeSpans(text, /*add_special_tokens=*/false, &spans);
  return spans;
}

size_t Documents::CutAt(const std::vector<text::TokenSpan>& spans, std::string_view text) const {
  // Where the base's last token ends, or at the character before.
  const uint64_t left = settings_.max_tokens - tokens_[0];
  size_t end = left == 0 ? 0 : spans[left - 1].end;
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return end;
}

void Documents::Add(uint32_t file, uint64_t line, std::string_view text) {
  if (full_) return;
  if (settings_.max_tokens > 0) {
    const std::vector<text::TokenSpan> spans = Encode(0, text);
    if (tokens_[0] + spans.size() >= settings_.max_tokens) {
      full_ = true;
      text = text.substr(0, tokens_[0] + spans.size() == settings_.max_tokens ? text.size() : CutAt(spans, text));
    }
    if (settings_.joined()) tokens_[0] += spans.size();
  }
  Document document = {.file = file, .line = line, .bytes = text.size()};
  if (document.bytes == 0) return;
  document.words = CountWords(text, settings_.convention);
  document.characters = CountCharacters(text);
  const uint32_t index = documents_.size();
  documents_.push_back(document);
  if (!settings_.joined()) {
    AddText(text, index, {text.size()});
    return;
  }
  if (!joined_.empty()) {
    StrAppend(&joined_, kJoint);
    joined_end_.back() = joined_.size();
  }
  StrAppend(&joined_, text);
  joined_end_.push_back(joined_.size());
}

absl::Status Documents::Finish() {
  if (settings_.joined() && !documents_.empty()) {
    tokens_[0] = 0;
    // llama-perplexity drops one line's end at the end of its file.
    if (settings_.convention == Convention::kLlamaCpp && joined_.ends_with('\n')) joined_.pop_back();
    AddText(joined_, 0, std::move(joined_end_));
    joined_.clear();
  }
  if (documents_.empty()) return absl::InvalidArgumentError("no text in it; there is nothing to score");
  if (!windows_.empty()) return absl::OkStatus();
  if (settings_.convention == Convention::kLlamaCpp) {
    return absl::InvalidArgumentError(StrCat("only ", tokens_[0], " tokens; with LLAMA_CPP and a context of ",
                                             settings_.context, " at least ", 2 * settings_.context,
                                             " are needed; give more text or a smaller context"));
  }
  return absl::InvalidArgumentError("no token in it that could be scored");
}

void Documents::AddText(std::string_view text, uint32_t first_document, std::vector<uint64_t> document_end) {
  Text out;
  out.first_document = first_document;
  out.document_end = std::move(document_end);
  for (size_t s = 0; s < subjects_.size(); ++s) {
    const Subject& subject = *subjects_[s];
    const std::vector<text::TokenSpan> spans = Encode(static_cast<int>(s), text);
    tokens_[s] += spans.size();
    without_token_[s] += Uncovered(spans, text.size());
    std::vector<int32_t>& ids = out.sequence[s];
    std::vector<uint64_t>& ends = out.end[s];
    ids.reserve(spans.size() + 2);
    ends.reserve(spans.size() + 2);
    const auto add = [&](int64_t id, uint64_t end) {
      ids.push_back(static_cast<int32_t>(id));
      ends.push_back(end);
    };
    if (settings_.convention == Convention::kBytes) add(subject.first_token, 0);
    // lm-evaluation-harness encodes with special tokens, so that a first one may come twice; not if the text has it.
    if (settings_.convention == Convention::kLmEval) add(subject.first_token_of_lm_eval, 0);
    const bool specials =
        settings_.convention != Convention::kBytes &&
        !(settings_.convention == Convention::kLmEval &&
          text.starts_with(subject.tokenizer->TokenBytes(static_cast<text::TokenId>(subject.first_token_of_lm_eval))));
    if (specials) {
      for (text::TokenId id : subject.tokenizer->prefix()) add(id, 0);
    }
    for (const text::TokenSpan& span : spans) add(span.id, span.end);
    if (specials && settings_.convention != Convention::kLlamaCpp) {
      for (text::TokenId id : subject.tokenizer->suffix()) add(id, text.size());
    }
  }
  const uint32_t index = texts_.size();
  if (subjects_.size() == 2 && settings_.convention == Convention::kBytes) {
    for (Window& window : CutCommonWindows(index, out.end[0], out.end[1], settings_)) windows_.push_back(window);
  } else {
    std::vector<Range> ranges[2];
    for (size_t s = 0; s < subjects_.size(); ++s) {
      const uint64_t size = out.sequence[s].size();
      // llama-perplexity asks for two windows at least.
      if (settings_.convention == Convention::kLlamaCpp && size < 2 * settings_.context) continue;
      ranges[s] = CutWindows(size, settings_);
    }
    for (size_t i = 0; i < std::max(ranges[0].size(), ranges[1].size()); ++i) {
      Window window = {.text = index, .of = {}, .paired = true};
      uint64_t start[2] = {};
      for (size_t s = 0; s < subjects_.size(); ++s) {
        if (i >= ranges[s].size()) {
          window.paired = false;
          continue;
        }
        window.of[s] = ranges[s][i];
        start[s] = window.of[s].begin == 0 ? 0 : out.end[s][window.of[s].begin - 1];
      }
      window.paired &= subjects_.size() == 2 && start[0] == start[1];
      windows_.push_back(window);
    }
  }
  texts_.push_back(std::move(out));
}

}  // namespace editd::evaluate
