#include "client/side_by_side.h"

#include <algorithm>
#include <vector>

#include "client/table.h"
#include "storage/base/strings.h"
#include "storage/base/utf8.h"

namespace editd::client {
namespace {

// Lines of at most `width` columns.
std::vector<std::string> Wrapped(std::string_view text, size_t width) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    std::string line;
    const auto word = [&](std::string_view w) {
      if (DisplayWidth(line) + DisplayWidth(w) <= width) {
        line += w;
        return;
      }
      if (!line.empty()) out.push_back(std::exchange(line, ""));
      if (w == " ") return;
      for (size_t i = 0; i < w.size();) {  // A word longer than a line is cut between characters.
        size_t n = 1;
        while (i + n < w.size() && (w[i + n] & 0xc0) == 0x80) ++n;
        if (DisplayWidth(line) + DisplayWidth(w.substr(i, n)) > width && !line.empty())
          out.push_back(std::exchange(line, ""));
        line += w.substr(i, n);
        i += n;
      }
    };
    const std::string paragraph = Printable(text.substr(begin, end - begin));
    for (size_t i = 0; i < paragraph.size();) {
      const size_t space = std::min(paragraph.find(' ', i), paragraph.size());
      if (space > i) word(std::string_view(paragraph).substr(i, space - i));
      if (space < paragraph.size()) word(" ");
      i = space + 1;
    }
    out.push_back(line);
    begin = end + 1;
  }
  return out;
}

}  // namespace

std::string SideBySide(std::string_view left, std::string_view right, size_t width) {
  constexpr std::string_view kBetween = " | ";
  const size_t column = std::max<size_t>(10, (width - std::min(width, kBetween.size())) / 2);
  const std::vector<std::string> a = Wrapped(left, column), b = Wrapped(right, column);
  std::string out;
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    std::string line = i < a.size() ? a[i] : "";
    line += std::string(column - std::min(column, DisplayWidth(line)), ' ');
    StrAppend(&line, kBetween, i < b.size() ? b[i] : "");
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

}  // namespace editd::client
