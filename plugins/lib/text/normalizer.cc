#include "plugins/lib/text/normalizer.h"

#include <algorithm>

#include "plugins/lib/text/unicode.h"

namespace editd::text {
namespace {

constexpr uint32_t kLowerTable[] = {
#define EDITD_MAPPING_LOWER
#include "plugins/lib/text/mapping_tables.inc"
#undef EDITD_MAPPING_LOWER
};

struct Lowered {
  uint32_t code_point, at;  // `at`: of the table, the number of characters.
};

const std::vector<Lowered>& LowerIndex() {
  static const auto* const index = [] {
    auto* made = new std::vector<Lowered>;
    for (uint32_t i = 0; i < std::size(kLowerTable); i += 2 + kLowerTable[i + 1])
      made->push_back({kLowerTable[i], i + 1});
    return made;
  }();
  return *index;
}

// The table's entry of a character (how many it becomes, and these); null if it stays.
const uint32_t* LowerCase(uint32_t c) {
  const std::vector<Lowered>& index = LowerIndex();
  const auto found = std::lower_bound(index.begin(), index.end(), c,
                                      [](const Lowered& entry, uint32_t value) { return entry.code_point < value; });
  return found != index.end() && found->code_point == c ? kLowerTable + found->at : nullptr;
}

void Lower(const NormalText& in, NormalWriter* writer) {
  std::vector<Transformed> changes;
  for (size_t at = 0; at < in.text.size();) {
    int length;
    const uint32_t c = DecodeUtf8(in.text.data() + at, in.text.data() + in.text.size(), &length);
    const uint32_t* lower = LowerCase(c);
    if (lower != nullptr) {
      writer->KeepTo(at);
      changes.clear();
      for (uint32_t i = 0; i < lower[0]; ++i) changes.push_back({lower[1 + i], i > 0 ? 1 : 0});
      writer->Replace(length, changes);
    }
    at += length;
  }
  writer->KeepTo(in.text.size());
}

void Strip(const NormalText& in, bool left, bool right, NormalWriter* writer) {
  const uint8_t* flags = CodePointFlags();
  const std::string_view text = in.text;
  size_t begin = 0, end = text.size();
  int length;
  while (left && begin < end && flags[DecodeUtf8(text.data() + begin, text.data() + end, &length)] & kSpace) {
    begin += length;
  }
  while (right && begin < end) {
    size_t last = end - 1;
    while (last > begin && end - last < 4 && (text[last] & 0xc0) == 0x80) --last;
    if (!(flags[DecodeUtf8(text.data() + last, text.data() + end, &length)] & kSpace)) break;
    end = last;
  }
  writer->Skip(begin);
  writer->KeepTo(end);
}

}  // namespace

bool Normalizer::Leaves(std::string_view text) const {
  return std::all_of(steps_.begin(), steps_.end(), [text](const NormalizerStep& step) {
    return step.kind == NormalizerStep::kForm && LooksNormal(step.form, text);
  });
}

void Normalizer::Apply(Places places, NormalText* text, NormalText* other) const {
  for (const NormalizerStep& step : steps_) {
    if (text->text.empty()) return;
    if (step.kind == NormalizerStep::kForm && LooksNormal(step.form, text->text)) continue;
    NormalWriter writer(*text, other, places);
    switch (step.kind) {
      case NormalizerStep::kForm:
        NormalizeForm(step.form, *text, &writer);
        break;
      case NormalizerStep::kLowercase:
        Lower(*text, &writer);
        break;
      case NormalizerStep::kStrip:
        Strip(*text, step.left, step.right, &writer);
        break;
      case NormalizerStep::kPrepend:
        writer.Prepend(step.content);
        writer.KeepTo(text->text.size());
        break;
      case NormalizerStep::kReplace:
        step.pattern->ForEach(text->text, [&](size_t begin, size_t end) {
          writer.KeepTo(begin);
          writer.Replace(end - begin, step.content);
        });
        writer.KeepTo(text->text.size());
        break;
    }
    std::swap(*text, *other);
  }
}

std::string Normalizer::Apply(std::string_view text) const {
  NormalText normal, other;
  normal.text = text;
  Apply(Places::kNone, &normal, &other);
  return std::move(normal.text);
}

}  // namespace editd::text
