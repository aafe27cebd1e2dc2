// An answer's text while its tokens come: what may be shown already, and whether a stop string ended it.
//
// Held back is what the next token may still change: half a character, and an end that may begin a stop string.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_GENERATE_TEXT_STREAM_H_
#define EDITD_PLUGINS_LIB_GENERATE_TEXT_STREAM_H_

#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/text/tokenizer.h"

namespace editd::generate {

class TextStream {
 public:
  TextStream(const text::Tokenizer* tokenizer, const std::vector<std::string>* stops)
      : tokenizer_(tokenizer), stops_(stops) {}

  // True if a stop string is there now; then the text ends before it.
  bool Add(text::TokenId id);
  // What became certain since the last call.
  std::string Take();
  // Nothing more comes: everything is certain.
  void End() { ended_ = true; }

  const std::string& text() const { return text_; }
  const std::string& stop() const { return stop_; }  // The one that came.

 private:
  const text::Tokenizer* const tokenizer_;
  const std::vector<std::string>* const stops_;
  std::vector<text::TokenId> ids_;
  std::string text_;
  std::string stop_;
  size_t taken_ = 0;
  bool ended_ = false;
};

}  // namespace editd::generate

#endif  // EDITD_PLUGINS_LIB_GENERATE_TEXT_STREAM_H_
