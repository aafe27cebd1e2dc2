// Any bytes as a tokenizer.json and, after a first NUL, a text: an error by name, or a tokenizer that encodes the text
// and some others in parts as it does whole, with spans inside the text, and never a crash.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "plugins/lib/text/count.h"
#include "plugins/lib/text/tokenizer.h"
#include "plugins/lib/text/unicode.h"

namespace {

void Check(const editd::text::Tokenizer& tokenizer, std::string_view text) {
  editd::text::Encoder encoder(&tokenizer);
  std::vector<editd::text::TokenId> ids;
  std::vector<editd::text::TokenSpan> spans;
  encoder.Encode(text, true, &ids);
  encoder.EncodeSpans(text, true, &spans);
  if (ids.size() != spans.size()) std::abort();
  size_t end = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] != spans[i].id || !tokenizer.HasToken(ids[i])) std::abort();
    if (spans[i].begin > spans[i].end || spans[i].end < end || spans[i].end > text.size()) std::abort();
    end = spans[i].end;
  }
  const std::string decoded = tokenizer.Decode(ids, true);
  if (editd::text::FirstInvalidUtf8(decoded) != decoded.size()) std::abort();
  if (editd::text::FirstInvalidUtf8(text) != text.size()) return;
  editd::text::CountOptions options;
  options.threads = 1;
  options.part_bytes = 3;
  const auto counts = editd::text::CountTokens(tokenizer, {text, "text"}, options);
  if (!counts.ok() || counts->tokens + tokenizer.prefix().size() + tokenizer.suffix().size() != ids.size())
    std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t nul = input.find('\0');
  const auto tokenizer = editd::text::Tokenizer::FromJson(input.substr(0, nul));
  if (!tokenizer.ok()) return 0;
  Check(**tokenizer, " ab  ab's e\xcc\x81<s>\n\n 12 \xe4\xb8\x80\xff");
  if (nul != std::string_view::npos) Check(**tokenizer, input.substr(nul + 1));
  return 0;
}
