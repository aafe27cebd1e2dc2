#include "plugins/trim/template_text.h"

namespace editd::trim {
namespace {

// The literal whose opening quote is at `position`; leaves `position` behind its closing quote.
std::string Literal(std::string_view text, size_t* position) {
  const char quote = text[(*position)++];
  std::string out;
  while (*position < text.size() && text[*position] != quote) {
    char c = text[(*position)++];
    if (c == '\\' && *position < text.size()) {
      c = text[(*position)++];
      if (c == 'n') c = '\n';
      if (c == 't') c = '\t';
      if (c == 'r') c = '\r';
    }
    out.push_back(c);
  }
  if (*position < text.size()) ++*position;
  return out;
}

}  // namespace

std::vector<std::string> TemplateText(std::string_view jinja) {
  std::vector<std::string> pieces;
  const auto add = [&pieces](std::string piece) {
    if (!piece.empty()) pieces.push_back(std::move(piece));
  };
  size_t position = 0;
  while (position < jinja.size()) {
    size_t tag = position;
    while (tag < jinja.size() && !(jinja[tag] == '{' && tag + 1 < jinja.size() &&
                                   std::string_view("{%#").find(jinja[tag + 1]) != std::string_view::npos)) {
      ++tag;
    }
    add(std::string(jinja.substr(position, tag - position)));
    if (tag >= jinja.size()) break;
    const char kind = jinja[tag + 1];
    const char close = kind == '{' ? '}' : kind;
    position = tag + 2;
    while (position < jinja.size()) {
      if (jinja[position] == close && position + 1 < jinja.size() && jinja[position + 1] == '}') {
        position += 2;
        break;
      }
      if (kind != '#' && (jinja[position] == '\'' || jinja[position] == '"')) {
        add(Literal(jinja, &position));
      } else {
        ++position;
      }
    }
  }
  return pieces;
}

}  // namespace editd::trim
