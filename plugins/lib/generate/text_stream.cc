#include "plugins/lib/generate/text_stream.h"

#include <algorithm>

namespace editd::generate {

bool TextStream::Add(text::TokenId id) {
  ids_.push_back(id);
  text_ = tokenizer_->Decode(ids_, /*skip_special_tokens=*/true);
  size_t first = std::string::npos;
  for (const std::string& stop : *stops_) {
    const size_t at = text_.find(stop);
    if (at >= first) continue;
    first = at;
    stop_ = stop;
  }
  if (first == std::string::npos) return false;
  text_.resize(first);
  ended_ = true;
  return true;
}

std::string TextStream::Take() {
  size_t sure = text_.size();
  if (!ended_) {
    // A part of a character shows as U+FFFD, at most three of them.
    constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
    while (std::string_view(text_).substr(0, sure).ends_with(kReplacement)) sure -= kReplacement.size();
    for (const std::string& stop : *stops_) {
      for (size_t n = std::min(stop.size() - 1, sure); n > 0; --n) {
        if (std::string_view(text_).substr(0, sure).ends_with(std::string_view(stop).substr(0, n))) {
          sure -= n;
          break;
        }
      }
    }
  }
  if (sure <= taken_) return "";
  std::string out = text_.substr(taken_, sure - taken_);
  taken_ = sure;
  return out;
}

}  // namespace editd::generate
