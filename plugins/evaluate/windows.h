// How a document is cut into windows of context, so that every token is scored once.
//
// A document is a sequence s[0] s[1] ... s[n]: s[0] is the model's first token (BOS, or EOS where there is none), the
// rest are the document's. A window feeds s[begin .. end) to the model and scores what follows each of s[scored_from ..
// end): the tokens s[scored_from + 1 .. end]. Windows go forward by `stride`, so a token has at least context - stride
// tokens before it in its window, or all that the document has.
#ifndef EDITD_PLUGINS_EVALUATE_WINDOWS_H_
#define EDITD_PLUGINS_EVALUATE_WINDOWS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace editd::evaluate {

struct Window {
  uint32_t document;
  uint64_t begin, scored_from, end;  // Indices into the document's sequence.

  uint64_t length() const { return end - begin; }
  uint64_t scored() const { return end - scored_from; }
};

// Appends the windows of a document of `tokens` tokens (s[0] not counted). 1 <= stride <= context.
inline void CutWindows(uint32_t document, uint64_t tokens, uint64_t context, uint64_t stride,
                       std::vector<Window>* out) {
  for (uint64_t from = 0; from < tokens;) {
    const uint64_t end = std::min(tokens, from == 0 ? context : from + stride);
    out->push_back({document, end > context ? end - context : 0, from, end});
    from = end;
  }
}

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_WINDOWS_H_
