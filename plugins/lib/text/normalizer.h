// Normalizers: what is done to a text between its added tokens before it is cut into pre-tokens, in the file's order.
//
// Each does exactly what the reference's does (its Unicode tables included). Immutable once filled; any thread may use
// it with its own texts.
#ifndef EDITD_PLUGINS_LIB_TEXT_NORMALIZER_H_
#define EDITD_PLUGINS_LIB_TEXT_NORMALIZER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/text/nfc.h"
#include "plugins/lib/text/normal_text.h"
#include "plugins/lib/text/pattern.h"

namespace editd::text {

struct NormalizerStep {
  enum Kind : uint8_t { kForm, kLowercase, kStrip, kPrepend, kReplace };
  Kind kind;
  Form form = Form::kNfc;                  // kForm
  bool left = false, right = false;        // kStrip
  std::string content;                     // kPrepend, kReplace
  std::shared_ptr<const Pattern> pattern;  // kReplace
};

class Normalizer {
 public:
  void Add(NormalizerStep step) { steps_.push_back(std::move(step)); }

  bool empty() const { return steps_.empty(); }
  const std::vector<NormalizerStep>& steps() const { return steps_; }

  // True if `text` stays as it is, as far as a quick look shows.
  bool Leaves(std::string_view text) const;

  // Normalises `*text` in place; `*other` is memory to work in.
  void Apply(Places places, NormalText* text, NormalText* other) const;

  // The same for a text alone.
  std::string Apply(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_NORMALIZER_H_
