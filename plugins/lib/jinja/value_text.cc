// Values as text: Python's repr and json.dumps.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "plugins/lib/jinja/value.h"
#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::jinja {
namespace {

constexpr int kDeepest = 200;

// str.isprintable of one character, as far as plain ranges tell: separators, controls, format characters, surrogates
// and private use are not.
bool Printable(uint32_t c) {
  if (c < 0x7f) return c >= 0x20;
  if (c < 0xa1 || c == 0xad) return false;
  if (IsSpace(c) || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f)) {
    return false;
  }
  return !(c >= 0xd800 && c <= 0xf8ff) && c != 0xfeff && !(c >= 0xfff0 && c <= 0xfffb) && (c & 0xfffe) != 0xfffe &&
         !(c >= 0xe0000 && c < 0xe0100) && c < 0xf0000;
}

std::string Hex(const char* format, uint32_t c) {
  char out[16];
  std::snprintf(out, sizeof(out), format, c);
  return out;
}

std::string TextRepr(std::string_view text) {
  const char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (std::string_view c : Characters(text)) {
    int length;
    const uint32_t code = text::DecodeUtf8(c.data(), c.data() + c.size(), &length);
    if (c == "\n") {
      out += "\\n";
    } else if (c == "\r") {
      out += "\\r";
    } else if (c == "\t") {
      out += "\\t";
    } else if (c == "\\" || c[0] == quote) {
      out += '\\';
      out += c;
    } else if (Printable(code)) {
      out += c;
    } else {
      out += Hex(code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    }
  }
  return out + quote;
}

std::string ReprOf(const Value& value, int depth) {
  if (depth > kDeepest) throw Failure{"a value is nested too deeply to be printed"};
  if (value.undefined()) return "Undefined";
  if (value.none()) return "None";
  if (value.boolean()) return value.AsInteger() ? "True" : "False";
  if (value.integer()) return StrCat(value.AsInteger());
  if (value.real()) return FloatText(value.AsDouble());
  if (value.text()) return TextRepr(value.AsText());
  if (value.indexed()) {
    const bool tuple = value.list_kind() == ListKind::kTuple;
    std::string out = tuple ? "(" : "[";
    for (size_t i = 0; i < value.AsList().size(); ++i) {
      if (i > 0) out += ", ";
      out += ReprOf(value.AsList()[i], depth + 1);
    }
    if (tuple && value.AsList().size() == 1) out += ',';
    return out + (tuple ? ")" : "]");
  }
  if (value.dict()) {
    std::string out = "{";
    for (const auto& [key, item] : value.AsDict()) {
      if (out.size() > 1) out += ", ";
      out += ReprOf(key, depth + 1) + ": " + ReprOf(item, depth + 1);
    }
    return out + "}";
  }
  throw Failure{StrCat("a ", value.TypeName(), " cannot be printed")};
}

void JsonText(std::string_view text, bool ascii, std::string* out) {
  *out += '"';
  for (std::string_view c : Characters(text)) {
    int length;
    const uint32_t code = text::DecodeUtf8(c.data(), c.data() + c.size(), &length);
    if (c == "\"" || c == "\\") {
      *out += '\\';
      *out += c;
    } else if (c == "\n") {
      *out += "\\n";
    } else if (c == "\r") {
      *out += "\\r";
    } else if (c == "\t") {
      *out += "\\t";
    } else if (c == "\b") {
      *out += "\\b";
    } else if (c == "\f") {
      *out += "\\f";
    } else if (code < 0x20 || (ascii && code == 0x7f)) {
      *out += code == 0x7f ? std::string(1, '\x7f') : Hex("\\u%04x", code);
    } else if (ascii && code >= 0x10000) {
      *out += Hex("\\u%04x", 0xd800 + ((code - 0x10000) >> 10)) + Hex("\\u%04x", 0xdc00 + ((code - 0x10000) & 0x3ff));
    } else if (ascii && code >= 0x80) {
      *out += Hex("\\u%04x", code);
    } else {
      *out += c;
    }
  }
  *out += '"';
}

void Json(const Value& value, const JsonStyle& style, int depth, std::string* out) {
  if (depth > kDeepest) throw Failure{"a value is nested too deeply for tojson"};
  const auto newline = [&](int level) {
    if (!style.indented) return;
    *out += '\n';
    for (int i = 0; i < level; ++i) *out += style.indent;
  };
  if (value.none()) {
    *out += "null";
  } else if (value.boolean()) {
    *out += value.AsInteger() ? "true" : "false";
  } else if (value.integer()) {
    StrAppend(out, value.AsInteger());
  } else if (value.real()) {
    const double d = value.AsDouble();
    *out += std::isnan(d) ? "NaN" : std::isinf(d) ? (d > 0 ? "Infinity" : "-Infinity") : FloatText(d);
  } else if (value.text()) {
    JsonText(value.AsText(), style.ascii, out);
  } else if (value.indexed()) {
    *out += '[';
    bool first = true;
    for (const Value& item : value.AsList()) {
      if (!first) *out += style.item_separator;
      first = false;
      newline(depth + 1);
      Json(item, style, depth + 1, out);
    }
    if (!first) newline(depth);
    *out += ']';
  } else if (value.dict()) {
    Value::Dict items = value.AsDict();
    if (style.sort_keys) {
      std::stable_sort(items.begin(), items.end(),
                       [](const auto& a, const auto& b) { return Compare(a.first, b.first) < 0; });
    }
    *out += '{';
    bool first = true;
    for (const auto& [key, item] : items) {
      if (!first) *out += style.item_separator;
      first = false;
      newline(depth + 1);
      if (key.text()) {
        JsonText(key.AsText(), style.ascii, out);
      } else if (key.none() || key.number()) {
        std::string text;
        Json(key, style, depth + 1, &text);
        *out += '"' + text + '"';
      } else {
        throw Failure{StrCat("tojson: a ", key.TypeName(), " is no key")};
      }
      *out += style.key_separator;
      Json(item, style, depth + 1, out);
    }
    if (!first) newline(depth);
    *out += '}';
  } else {
    throw Failure{StrCat("object of type ", value.TypeName(), " is not JSON serializable")};
  }
}

}  // namespace

std::string Value::Repr() const { return ReprOf(*this, 0); }

std::string ToJson(const Value& value, const JsonStyle& style) {
  std::string out;
  Json(value, style, 0, &out);
  return out;
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // Shortest digits that read back, as "d.ddde[+-]xx".
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, end - buffer);
  std::string sign;
  if (text[0] == '-') {
    sign = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  std::string digits(1, text[0]);
  if (e > 1) digits += text.substr(2, e - 2);
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    std::string out = sign + digits[0];
    if (count > 1) out += "." + digits.substr(1);
    char tail[16];
    std::snprintf(tail, sizeof(tail), "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return out + tail;
  }
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  if (count <= exponent + 1) return sign + digits + std::string(exponent + 1 - count, '0') + ".0";
  return sign + digits.substr(0, exponent + 1) + "." + digits.substr(exponent + 1);
}

}  // namespace editd::jinja
