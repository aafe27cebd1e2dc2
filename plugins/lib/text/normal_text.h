// A text that normalising has changed, and for each of its bytes the place in the source that it is from.
//
// Places are kept only where somebody wants them, and come in two kinds. The reference's (kReference) are what HF
// tokenizers reports: a byte has the place of its whole character, and what was put in has the place of what stood
// there. Exact ones (kExact) give every byte of the source to one token at most: a byte that did not change has its own
// place, a changed part the whole part's, and what was put in has none.
//
// Thread-compatible.
#ifndef EDITD_PLUGINS_LIB_TEXT_NORMAL_TEXT_H_
#define EDITD_PLUGINS_LIB_TEXT_NORMAL_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace editd::text {

enum class Places : uint8_t { kNone, kExact, kReference };

// Where a byte is from.
struct Place {
  size_t begin, end;
};

struct NormalText {
  std::string text;
  std::vector<Place> places;  // As many as bytes, or none.

  // Sets this to a part of the source that nothing has changed yet; it begins at `base` there.
  void Assign(std::string_view source, size_t base, Places kind);
  void Clear() {
    text.clear();
    places.clear();
  }
};

// A character that replaces others: `change` of 0 takes the place of one, -n of one and the n after it, 1 of none.
struct Transformed {
  uint32_t code_point;
  int change;
};

// Writes a text from another, from its beginning to its end.
class NormalWriter {
 public:
  NormalWriter(const NormalText& in, NormalText* out, Places kind) : in_(in), out_(out), kind_(kind) { out->Clear(); }

  size_t at() const { return at_; }
  // The next `size` bytes stay.
  void Keep(size_t size);
  void KeepTo(size_t end) { Keep(end - at_); }
  // The next `size` bytes go.
  void Skip(size_t size) { at_ += size; }
  // The next `size` bytes become other characters; `changes` say how, and use them up.
  void Replace(size_t size, const std::vector<Transformed>& changes);
  // The next `size` bytes (none maybe) become `content`.
  void Replace(size_t size, std::string_view content);
  // Puts `content` before the first character. At the beginning only, of what is not empty.
  void Prepend(std::string_view content);

 private:
  void Append(std::string_view bytes, Place place);

  const NormalText& in_;
  NormalText* const out_;
  const Places kind_;
  size_t at_ = 0;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_NORMAL_TEXT_H_
