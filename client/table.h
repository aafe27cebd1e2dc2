// Tables for a terminal: columns that line up, numbers to the right.
//
// Thread-compatible.
#ifndef EDITD_CLIENT_TABLE_H_
#define EDITD_CLIENT_TABLE_H_

#include <string>
#include <string_view>
#include <vector>

namespace editd::client {

class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;  // All titles empty: no line of titles.
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // As many cells as columns. Control characters are shown as "?", so that no text can play with the terminal.
  void Row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }

  // Two blanks between columns, none at a line's end. If a line is wider than `width` (0: no limit), the last column is
  // cut and ends in "…".
  std::string ToString(size_t width) const;

 private:
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Columns that a terminal needs for `text`, UTF-8: wide East Asian letters and emoji take two, combining marks none.
size_t DisplayWidth(std::string_view text);
// The longest beginning of `text` that fits, with "…" if something was cut.
std::string FitWidth(std::string_view text, size_t width);
// Control characters (but not "\n" and "\t") replaced by "?".
std::string Printable(std::string_view text);

}  // namespace editd::client

#endif  // EDITD_CLIENT_TABLE_H_
