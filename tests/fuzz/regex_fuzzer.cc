// Any bytes as a pattern and, after a first NUL, a text: an error by name, or matches in order, none empty, in a time
// that grows with the text's length only.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "plugins/lib/text/pattern.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t nul = input.find('\0');
  auto regex = editd::text::Regex::Compile(input.substr(0, nul));
  if (!regex.ok()) return 0;
  const std::string_view text =
      nul == std::string_view::npos ? "don't  stop\n\n at 12345 x\xe1\xba\xbf\xff" : input.substr(nul + 1);
  size_t done = 0;
  editd::text::Pattern(*std::move(regex)).ForEach(text, [&](size_t begin, size_t end) {
    if (begin < done || begin >= end || end > text.size()) std::abort();
    done = end;
  });
  return 0;
}
