// The decoder: how tokens become text again, step by step as the file lists them.
//
// Each step takes the list of strings that the one before has left; at the end they are put together. Immutable once
// filled.
#ifndef EDITD_PLUGINS_LIB_TEXT_DECODER_H_
#define EDITD_PLUGINS_LIB_TEXT_DECODER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/lib/text/pattern.h"

namespace editd::text {

struct DecoderStep {
  enum Kind : uint8_t { kByteLevel, kFuse, kReplace, kByteFallback, kStrip, kMetaspace };
  Kind kind;
  std::shared_ptr<const Pattern> pattern;  // kReplace
  std::string content;                     // kReplace; kStrip, kMetaspace: one character
  size_t start = 0, stop = 0;              // kStrip: how many at most
  bool strips_first = false;               // kMetaspace: the first token loses its replacements
};

class Decoder {
 public:
  void Add(DecoderStep step) { steps_.push_back(std::move(step)); }
  // With a decoder, tokens are put together as they are; without one, with spaces between them.
  void SetPresent() { present_ = true; }
  bool present() const { return present_; }
  const std::vector<DecoderStep>& steps() const { return steps_; }

  // True if the bytes of tokens, put together, are all there is to decoding: ByteLevel, and Fuse after it.
  bool IsByteLevel() const;

  // The text of `tokens`. `raw`: bytes that are no UTF-8 stay as they are instead of becoming U+FFFD.
  std::string Decode(std::vector<std::string> tokens, bool raw) const;

  // Appends the bytes that a token stands for wherever it is not the first.
  void AppendBytes(std::string_view token, std::string* bytes) const;

 private:
  bool present_ = false;
  std::vector<DecoderStep> steps_;
};

// The byte of "<0x0A>"; -1 for other tokens.
int ByteOfToken(std::string_view token);

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_DECODER_H_
