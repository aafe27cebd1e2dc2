#include "plugins/lib/text/normal_text.h"

#include <algorithm>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

size_t LengthAt(std::string_view text, size_t at) {
  int length;
  DecodeUtf8(text.data() + at, text.data() + text.size(), &length);
  return length;
}

}  // namespace

void NormalText::Assign(std::string_view source, size_t base, Places kind) {
  text.assign(source);
  places.clear();
  if (kind == Places::kNone) return;
  places.reserve(source.size());
  for (size_t at = 0; at < source.size();) {
    const size_t length = kind == Places::kReference ? LengthAt(source, at) : 1;
    places.insert(places.end(), length, {base + at, base + at + length});
    at += length;
  }
}

void NormalWriter::Append(std::string_view bytes, Place place) {
  out_->text.append(bytes);
  if (kind_ != Places::kNone) out_->places.insert(out_->places.end(), bytes.size(), place);
}

void NormalWriter::Keep(size_t size) {
  out_->text.append(in_.text, at_, size);
  if (kind_ != Places::kNone) {
    out_->places.insert(out_->places.end(), in_.places.begin() + at_, in_.places.begin() + at_ + size);
  }
  at_ += size;
}

void NormalWriter::Replace(size_t size, const std::vector<Transformed>& changes) {
  const size_t end = at_ + size;
  Place whole = {0, 0};
  if (kind_ == Places::kExact) whole = {in_.places[at_].begin, in_.places[end - 1].end};
  std::string utf8;
  for (const Transformed& change : changes) {
    utf8.clear();
    AppendUtf8(change.code_point, &utf8);
    if (kind_ != Places::kReference) {
      Append(utf8, whole);
      continue;
    }
    if (change.change > 0) {
      Append(utf8, at_ == 0 ? Place{0, 0} : in_.places[at_ - 1]);
      continue;
    }
    Append(utf8, in_.places[std::min(at_, in_.places.size() - 1)]);
    for (int left = 1 - change.change; left > 0 && at_ < end; --left) at_ += LengthAt(in_.text, at_);
  }
  at_ = end;
}

void NormalWriter::Replace(size_t size, std::string_view content) {
  const size_t end = at_ + size;
  Place place = {0, 0};
  if (kind_ == Places::kReference) {
    if (end > 0) place = in_.places[end - 1];
  } else if (kind_ == Places::kExact) {
    const size_t begin = at_ < in_.places.size() ? in_.places[at_].begin : at_ > 0 ? in_.places[at_ - 1].end : 0;
    place = {begin, size == 0 ? begin : in_.places[end - 1].end};
  }
  Append(content, place);
  at_ = end;
}

void NormalWriter::Prepend(std::string_view content) {
  if (kind_ != Places::kReference) {
    Replace(0, content);
    return;
  }
  // The reference lets the first character of `content` take the place of the text's, and inserts all else.
  const size_t length = LengthAt(in_.text, 0);
  Append(content, in_.places[0]);
  Append(std::string_view(in_.text).substr(0, length), in_.places[length - 1]);
  at_ = length;
}

}  // namespace editd::text
