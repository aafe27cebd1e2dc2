// encode_lines TOKENIZER.JSON [--special]: reads JSON strings, one a line, from standard input and writes for each a
// line: its ids, a tab, the decoded text (special tokens skipped) as hex, a tab, and each token's begin and end in
// characters, ids and places as Python shows a list and a list of pairs: the reference's answers need only be printed.
// tests/golden/compare_tokenizers.py compares that with the reference. Ends with an error if the ways to encode differ
// from each other.
#include <simdjson.h>

#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "plugins/lib/text/tokenizer.h"
#include "storage/base/file.h"

namespace {

// Characters before each byte of a text, made of places in bytes as the reference makes them, for which it has no other
// way out.
class Characters {
 public:
  explicit Characters(std::string_view text) {
    for (const char c : text) {
      count_ += (c & 0xc0) != 0x80 ? 1 : 0;
      at_.push_back(count_ - 1);
    }
  }
  std::pair<size_t, size_t> Of(size_t begin, size_t end) const {
    const size_t size = at_.size();
    if (begin >= size) return {count_, count_};  // Trimmed to nothing at the end.
    if (end < size) return {at_[begin], at_[end]};
    return {at_[begin], (end - 1 < size ? at_[end - 1] : at_[begin] + 1) + 1};
  }

 private:
  size_t count_ = 0;
  std::vector<size_t> at_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s TOKENIZER.JSON [--special] <strings.jsonl\n", argv[0]);
    return 2;
  }
  const bool special = argc > 2;
  auto json = editd::ReadWholeFile(argv[1]);
  if (!json.ok()) {
    std::fprintf(stderr, "%s\n", json.status().ToString().c_str());
    return 1;
  }
  auto tokenizer = editd::text::Tokenizer::FromJson(*json);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  editd::text::Encoder encoder(tokenizer->get());
  std::string line, out;
  simdjson::dom::parser parser;
  std::vector<editd::text::TokenId> ids;
  std::vector<editd::text::TokenSpan> offsets, spans;
  while (std::getline(std::cin, line)) {
    std::string_view text;
    if (parser.parse(line).get(text)) {
      std::fprintf(stderr, "not a JSON string: %s\n", line.c_str());
      return 1;
    }
    ids.clear();
    encoder.Encode(text, special, &ids);
    out = "[";
    for (const auto id : ids) out += (out.size() > 1 ? ", " : "") + std::to_string(id);
    out += "]\t";
    for (const unsigned char c : (*tokenizer)->Decode(ids, true)) {
      out += "0123456789abcdef"[c >> 4];
      out += "0123456789abcdef"[c & 15];
    }
    out += "\t[";
    offsets.clear();
    spans.clear();
    encoder.EncodeOffsets(text, special, &offsets);
    encoder.EncodeSpans(text, special, &spans);
    const Characters characters(text);
    for (size_t i = 0; i < offsets.size(); ++i) {
      const auto [begin, end] = characters.Of(offsets[i].begin, offsets[i].end);
      out += (i > 0 ? ", (" : "(") + std::to_string(begin) + ", " + std::to_string(end) + ")";
    }
    out += "]";
    bool same = offsets.size() == ids.size() && spans.size() == ids.size();
    size_t end = 0;
    for (size_t i = 0; same && i < ids.size(); ++i) {
      same = offsets[i].id == ids[i] && spans[i].id == ids[i] && spans[i].begin <= spans[i].end &&
             end <= spans[i].end && spans[i].end <= text.size();
      end = spans[i].end;
    }
    if (!same) {
      std::fprintf(stderr, "ids with places differ from ids alone: %s\n", line.c_str());
      return 1;
    }
    out += "\n";
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
  return 0;
}
