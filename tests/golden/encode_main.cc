// encode_lines TOKENIZER.JSON [--special]: reads JSON strings, one a line, from standard input and writes for each a
// line: its ids, a tab, the decoded text (special tokens skipped) as hex, a tab, and each token's begin and end.
// tests/golden/compare_tokenizers.py compares that with the reference. Ends with an error if the ways to encode differ
// from each other.
#include <simdjson.h>

#include <cstdio>
#include <iostream>
#include <string>

#include "plugins/lib/text/tokenizer.h"
#include "storage/base/file.h"

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
    out.clear();
    for (const auto id : ids) out += std::to_string(id) + " ";
    out += "\t";
    char hex[3];
    for (const unsigned char c : (*tokenizer)->Decode(ids, true)) {
      std::snprintf(hex, sizeof hex, "%02x", c);
      out += hex;
    }
    out += "\t";
    offsets.clear();
    spans.clear();
    encoder.EncodeOffsets(text, special, &offsets);
    encoder.EncodeSpans(text, special, &spans);
    for (const auto& span : offsets) out += std::to_string(span.begin) + " " + std::to_string(span.end) + " ";
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
