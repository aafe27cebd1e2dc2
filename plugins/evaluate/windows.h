// How a text is cut into windows of context, and which tokens each of them scores.
//
// A text is a sequence s[0] s[1] ... s[n]. A window feeds s[begin .. end) to the model and scores what follows each of
// s[scored_from .. end): the tokens s[scored_from + 1 .. end]. METRICS.md shows each convention's windows.
//
// With two models, the convention BYTES cuts both texts at the same bytes: at places where a token ends in both. So
// each window has the same text as context in both, as much of it as fits the model that needs more tokens for it. A
// stretch between two such places that is longer than a window is cut by each model by itself.
#ifndef EDITD_PLUGINS_EVALUATE_WINDOWS_H_
#define EDITD_PLUGINS_EVALUATE_WINDOWS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "plugins/evaluate/settings.h"

namespace editd::evaluate {

// Indices into a sequence.
struct Range {
  uint64_t begin = 0, scored_from = 0, end = 0;
  uint64_t weight = 0;  // kHfStrided: what that page weighs the window's mean with.

  uint64_t length() const { return end - begin; }
  uint64_t scored() const { return end - scored_from; }
};

// The same window of up to two models; with `paired`, both begin at the same byte. A model that has none has scored()
// 0.
struct Window {
  uint32_t text = 0;
  Range of[2];
  bool paired = false;
};

// The windows of a sequence of `size` tokens, s[0] counted, by a convention; kBytes: 1 <= stride <= context.
std::vector<Range> CutWindows(uint64_t size, const Settings& settings);

// Windows of two models over a text. end_*[k]: bytes of the text up to and with token s[k].
std::vector<Window> CutCommonWindows(uint32_t text, std::span<const uint64_t> end_a, std::span<const uint64_t> end_b,
                                     const Settings& settings);

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_WINDOWS_H_
