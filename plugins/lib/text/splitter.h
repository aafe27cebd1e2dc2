// Splitters: they cut text into pre-tokens, within which BPE merges.
//
// Published tokenizers name a regular expression; only a handful are in use. Each is written here by hand, and
// recognised by its text, for a general engine would be ten times slower and its Unicode tables would differ from the
// reference's. A pattern that is not known is refused. Every known pattern matches at each position, so the matches
// cover the text.
//
// A Pipeline is immutable and may be shared by threads.
#ifndef EDITD_PLUGINS_LIB_TEXT_SPLITTER_H_
#define EDITD_PLUGINS_LIB_TEXT_SPLITTER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace editd::text {

enum class SplitterKind : uint8_t {
  kNone,       // No cut.
  kDigits,     // Each numeric character on its own (Digits with individual_digits).
  kDigitRuns,  // Runs of numeric characters (Digits without).
  kGpt2,       // GPT-2; also ByteLevel with use_regex.
  kLlama3,     // Llama 3 and GPT-4 as converted: up to three digits together.
  kQwen2,      // Qwen 2 to 3: each digit on its own.
  kCl100k,     // tiktoken's cl100k_base with possessive quantifiers, as the reference's engine reads it.
};

// The splitter for the text of a pattern, if it is known.
std::optional<SplitterKind> SplitterForPattern(std::string_view pattern);

// The name in messages and tests: "gpt2".
std::string_view SplitterName(SplitterKind kind);

// The end of the piece that begins at `p` (p < end).
const char* PieceEnd(SplitterKind kind, const char* p, const char* end);

// Splitters one after the other, each cutting the pieces of the one before.
class Pipeline {
 public:
  struct Step {
    SplitterKind kind;
    bool prefix_space;  // First puts a space before each piece that does not begin with one (add_prefix_space).
  };

  Pipeline() = default;
  explicit Pipeline(std::vector<Step> steps);

  const std::vector<Step>& steps() const { return steps_; }

  // Calls sink(piece, offset, added) for each piece. Of its bytes the first `added` (0 or 1) are a space that was put
  // before the text; the others begin at `offset` in `text`. Pieces live until sink returns.
  template <typename Sink>
  void Split(std::string_view text, Sink&& sink) const {
    if (!text.empty()) Run(0, text, 0, 0, sink);
  }

 private:
  template <typename Sink>
  void Run(size_t at, std::string_view text, size_t offset, size_t added, Sink& sink) const {
    if (at == steps_.size()) {
      sink(text, offset, added);
      return;
    }
    const Step step = steps_[at];
    if (step.prefix_space && text[0] != ' ') {
      const std::string prefixed = " " + std::string(text);
      Cut(at, step.kind, prefixed, offset, 1, sink);
    } else {
      Cut(at, step.kind, text, offset, added, sink);
    }
  }

  template <typename Sink>
  void Cut(size_t at, SplitterKind kind, std::string_view text, size_t offset, size_t added, Sink& sink) const {
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    for (const char* p = begin; p < end;) {
      const char* next = PieceEnd(kind, p, end);
      const std::string_view piece(p, next - p);
      if (p == begin) {
        Run(at + 1, piece, offset, added, sink);
      } else {
        Run(at + 1, piece, offset + (p - begin) - added, 0, sink);
      }
      p = next;
    }
  }

  std::vector<Step> steps_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_SPLITTER_H_
