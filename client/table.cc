#include "client/table.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "storage/base/strings.h"

namespace editd::client {
namespace {

struct Range {
  char32_t first;
  char32_t last;
};

// Blocks that terminals draw two columns wide, and the marks that take none: coarse, but the same on every machine.
constexpr std::array kWide = {Range{0x1100, 0x115f},   Range{0x2e80, 0x303e},  Range{0x3041, 0xa4cf},
                              Range{0xac00, 0xd7a3},   Range{0xf900, 0xfaff},  Range{0xfe30, 0xfe6f},
                              Range{0xff00, 0xff60},   Range{0xffe0, 0xffe6},  Range{0x1f300, 0x1f64f},
                              Range{0x1f900, 0x1f9ff}, Range{0x20000, 0x3fffd}};
constexpr std::array kZero = {Range{0x0300, 0x036f}, Range{0x0483, 0x0489}, Range{0x0591, 0x05bd},
                              Range{0x064b, 0x065f}, Range{0x200b, 0x200f}, Range{0x20d0, 0x20ff},
                              Range{0xfe00, 0xfe0f}};

template <size_t N>
bool In(const std::array<Range, N>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(), [c](const Range& r) { return c >= r.first && c <= r.last; });
}

// The code point at `i`, and moves `i` past it. A byte that begins none counts as one.
char32_t Next(std::string_view text, size_t* i) {
  const auto lead = static_cast<unsigned char>(text[*i]);
  const size_t length = lead < 0x80 ? 1 : lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  char32_t c = length == 1 ? lead : lead & (0x7fu >> length);
  for (size_t k = 1; k < length && *i + k < text.size(); ++k) {
    c = (c << 6) | (static_cast<unsigned char>(text[*i + k]) & 0x3fu);
  }
  *i = std::min(text.size(), *i + length);
  return c;
}

size_t WidthOf(char32_t c) { return In(kZero, c) ? 0 : In(kWide, c) ? 2 : 1; }

}  // namespace

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  for (size_t i = 0; i < text.size();) width += WidthOf(Next(text, &i));
  return width;
}

std::string FitWidth(std::string_view text, size_t width) {
  size_t used = 0;
  size_t fits = 0;  // Bytes that leave room for "…".
  for (size_t i = 0; i < text.size();) {
    used += WidthOf(Next(text, &i));
    if (used > width) return width == 0 ? "" : StrCat(text.substr(0, fits), "…");
    if (used < width) fits = i;
  }
  return std::string(text);
}

std::string Printable(std::string_view text) {
  std::string clean(text);
  for (char& c : clean) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) c = '?';
  }
  return clean;
}

void Table::Row(std::vector<std::string> cells) {
  cells.resize(columns_.size());
  for (std::string& cell : cells) {
    cell = Printable(cell);
    std::replace_if(
        cell.begin(), cell.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  }
  rows_.push_back(std::move(cells));
}

std::string Table::ToString(size_t width) const {
  std::vector<size_t> widths;
  bool titled = false;
  for (const Column& column : columns_) {
    widths.push_back(DisplayWidth(column.title));
    titled |= !column.title.empty();
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  size_t before_last = 0;
  for (size_t i = 0; i + 1 < widths.size(); ++i) before_last += widths[i] + 2;

  std::string out;
  const auto line = [&](const auto& cell_of) {
    std::string text;
    for (size_t i = 0; i < columns_.size(); ++i) {
      std::string cell = cell_of(i);
      if (i + 1 == columns_.size() && width > before_last + 8) cell = FitWidth(cell, width - before_last);
      const std::string blanks(widths[i] - std::min(widths[i], DisplayWidth(cell)), ' ');
      const bool right = columns_[i].align == Align::kRight;
      StrAppend(&text, i > 0 ? "  " : "", right ? blanks : "", cell, right ? "" : blanks);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    StrAppend(&out, text, "\n");
  };
  if (titled) line([&](size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) line([&](size_t i) { return row[i]; });
  return out;
}

}  // namespace editd::client
