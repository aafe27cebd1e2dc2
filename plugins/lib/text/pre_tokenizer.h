// The pre-tokenizer: steps that cut a text into pieces, within which BPE merges. Each step cuts the pieces of the one
// before, and some change their text first.
//
// A PreTokenizer is immutable once filled and may be shared by threads.
#ifndef EDITD_PLUGINS_LIB_TEXT_PRE_TOKENIZER_H_
#define EDITD_PLUGINS_LIB_TEXT_PRE_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/lib/text/normal_text.h"
#include "plugins/lib/text/pattern.h"
#include "plugins/lib/text/splitter.h"

namespace editd::text {

// A part of a text.
struct Piece {
  std::string_view text;
  const Place* places = nullptr;  // Of its bytes; null: it stands so in the source, or nobody asks.
  size_t source = 0;              // Where it begins in the source, if `places` is null.
  bool first = false;             // Begins at the source's beginning.

  Piece Part(size_t begin, size_t end) const {
    return {text.substr(begin, end - begin), places ? places + begin : nullptr, source + begin,
            places ? places[begin].begin == 0 : first && begin == 0};
  }
};

struct PreTokenizerStep {
  enum Kind : uint8_t {
    kKnown,      // A hand-written splitter; `prefix_space` puts a space before a piece that begins with none
    kSplit,      // What `pattern` matches, and what is between
    kMetaspace,  // Spaces become `replacement`; cut before each if `split`
  };
  enum Behavior : uint8_t { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum Scheme : uint8_t { kNever, kFirst, kAlways };  // Where kMetaspace puts a replacement that is not there.

  Kind kind = kKnown;
  SplitterKind known = SplitterKind::kNone;
  bool prefix_space = false;
  std::shared_ptr<const Pattern> pattern;
  Behavior behavior = kIsolated;
  bool invert = false;
  std::string replacement;
  Scheme scheme = kNever;
  bool split = false;
};

class PreTokenizer {
 public:
  void Add(PreTokenizerStep step) { steps_.push_back(std::move(step)); }
  const std::vector<PreTokenizerStep>& steps() const { return steps_; }

  // Calls sink(const Piece&) for each piece of `piece`, in order. Pieces live until sink returns.
  template <typename Sink>
  void Split(const Piece& piece, Places places, Sink&& sink) const {
    if (!piece.text.empty()) Run(0, piece, places, sink);
  }

 private:
  struct Cut {
    size_t begin, end;
    bool match;
  };

  template <typename Sink>
  void Run(size_t at, const Piece& piece, Places places, Sink& sink) const {
    if (at == steps_.size()) {
      sink(piece);
      return;
    }
    const PreTokenizerStep& step = steps_[at];
    NormalText changed;
    switch (step.kind) {
      case PreTokenizerStep::kKnown: {
        Piece whole = piece;
        if (step.prefix_space && piece.text[0] != ' ') whole = Prefixed(piece, " ", places, &changed);
        const char* const begin = whole.text.data();
        const char* const end = begin + whole.text.size();
        for (const char* p = begin; p < end;) {
          const char* next = PieceEnd(step.known, p, end);
          Run(at + 1, whole.Part(p - begin, next - begin), places, sink);
          p = next;
        }
        return;
      }
      case PreTokenizerStep::kSplit:
        for (const Cut& cut : Cuts(step, piece.text)) Run(at + 1, piece.Part(cut.begin, cut.end), places, sink);
        return;
      case PreTokenizerStep::kMetaspace: {
        const Piece whole = Metaspaced(step, piece, places, &changed);
        size_t begin = 0;
        while (step.split) {
          const size_t end = whole.text.find(step.replacement, begin + 1);
          if (end == std::string_view::npos) break;
          Run(at + 1, whole.Part(begin, end), places, sink);
          begin = end;
        }
        Run(at + 1, whole.Part(begin, whole.text.size()), places, sink);
        return;
      }
    }
  }

  // `content` and then the piece.
  static Piece Prefixed(const Piece& piece, std::string_view content, Places places, NormalText* out);
  static Piece Metaspaced(const PreTokenizerStep& step, const Piece& piece, Places places, NormalText* out);
  // What `text` is cut into.
  static std::vector<Cut> Cuts(const PreTokenizerStep& step, std::string_view text);

  std::vector<PreTokenizerStep> steps_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_PRE_TOKENIZER_H_
