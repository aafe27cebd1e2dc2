#include "plugins/evaluate/script_leak.h"

#include <algorithm>
#include <string>

namespace editd::evaluate {

std::vector<int32_t> RowsOutside(const text::Tokenizer& tokenizer, int64_t rows, const text::AllowedScripts& allowed) {
  std::vector<int32_t> out;
  for (int64_t row = 0; row < rows; ++row) {
    const auto id = static_cast<text::TokenId>(row);
    if (!tokenizer.HasToken(id) || tokenizer.IsSpecial(id)) continue;
    if (text::IsOutside(tokenizer.TokenBytes(id), allowed)) out.push_back(static_cast<int32_t>(row));
  }
  return out;
}

WrittenTokens CountOutside(const text::Tokenizer& tokenizer, std::span<const int32_t> written,
                           const text::AllowedScripts& allowed) {
  WrittenTokens out;
  std::string bytes;
  std::vector<size_t> owner;  // Of each byte: which of the tokens since the last special one.
  std::vector<bool> marked;
  const auto end_of_text = [&] {
    text::ForEachOutside(bytes, allowed, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) marked[owner[i]] = true;
    });
    out.tokens += marked.size();
    out.outside += static_cast<uint64_t>(std::count(marked.begin(), marked.end(), true));
    bytes.clear();
    owner.clear();
    marked.clear();
  };
  for (int32_t token : written) {
    const auto id = static_cast<text::TokenId>(token);
    if (!tokenizer.HasToken(id) || tokenizer.IsSpecial(id)) {
      end_of_text();
      continue;
    }
    bytes += tokenizer.TokenBytes(id);
    owner.resize(bytes.size(), marked.size());
    marked.push_back(false);
  }
  end_of_text();
  return out;
}

}  // namespace editd::evaluate
