// How a text is measured: METRICS.md has the conventions.
#ifndef EDITD_PLUGINS_EVALUATE_SETTINGS_H_
#define EDITD_PLUGINS_EVALUATE_SETTINGS_H_

#include <cstdint>

namespace editd::evaluate {

enum class Convention { kBytes, kLlamaCpp, kLmEval, kHfStrided };

struct Settings {
  Convention convention = Convention::kBytes;
  uint64_t context = 512;
  uint64_t stride = 256;    // kBytes, kHfStrided.
  uint64_t batch = 0;       // Windows computed together; 0: about 4,096 tokens.
  uint64_t max_tokens = 0;  // Of the base's; 0: all.
  int top_k = 10;

  // True: all documents are one text.
  bool joined() const { return convention == Convention::kLlamaCpp || convention == Convention::kHfStrided; }
  // True: padding rows take part in the soft-max, as they do in the programs that are followed.
  bool padding_counts() const { return convention != Convention::kBytes; }
};

}  // namespace editd::evaluate

#endif  // EDITD_PLUGINS_EVALUATE_SETTINGS_H_
