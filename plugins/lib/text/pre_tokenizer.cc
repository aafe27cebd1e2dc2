#include "plugins/lib/text/pre_tokenizer.h"

#include <algorithm>

namespace editd::text {
namespace {

// The piece as a text that may be changed.
void Load(const Piece& piece, Places places, NormalText* out) {
  if (piece.places == nullptr) {
    out->Assign(piece.text, piece.source, places);
    return;
  }
  out->text.assign(piece.text);
  out->places.assign(piece.places, piece.places + piece.text.size());
}

Piece Of(const NormalText& text, const Piece& from) {
  Piece piece = from;
  piece.text = text.text;
  piece.places = text.places.empty() ? nullptr : text.places.data();
  return piece;
}

}  // namespace

Piece PreTokenizer::Prefixed(const Piece& piece, std::string_view content, Places places, NormalText* out) {
  if (places == Places::kNone) {
    out->text.reserve(content.size() + piece.text.size());
    out->text.assign(content).append(piece.text);
    return Of(*out, piece);
  }
  NormalText in;
  Load(piece, places, &in);
  NormalWriter writer(in, out, places);
  writer.Prepend(content);
  writer.KeepTo(in.text.size());
  return Of(*out, piece);
}

Piece PreTokenizer::Metaspaced(const PreTokenizerStep& step, const Piece& piece, Places places, NormalText* out) {
  NormalText in;
  Load(piece, places, &in);
  NormalWriter writer(in, out, places);
  for (size_t space = in.text.find(' '); space != std::string::npos; space = in.text.find(' ', space + 1)) {
    writer.KeepTo(space);
    writer.Replace(1, step.replacement);
  }
  writer.KeepTo(in.text.size());
  const Piece replaced = Of(*out, piece);
  const bool wanted =
      step.scheme == PreTokenizerStep::kAlways || (step.scheme == PreTokenizerStep::kFirst && piece.first);
  if (!wanted || out->text.starts_with(step.replacement)) return replaced;
  NormalText prefixed;
  Prefixed(replaced, step.replacement, places, &prefixed);
  std::swap(*out, prefixed);
  return Of(*out, piece);
}

std::vector<PreTokenizer::Cut> PreTokenizer::Cuts(const PreTokenizerStep& step, std::string_view text) {
  std::vector<Cut> all;
  size_t done = 0;
  step.pattern->ForEach(text, [&](size_t begin, size_t end) {
    if (done < begin) all.push_back({done, begin, step.invert});
    all.push_back({begin, end, !step.invert});
    done = end;
  });
  if (done < text.size()) all.push_back({done, text.size(), step.invert});

  std::vector<Cut> cuts;
  bool previous = false;
  switch (step.behavior) {
    case PreTokenizerStep::kIsolated:
      return all;
    case PreTokenizerStep::kRemoved:
      std::erase_if(all, [](const Cut& cut) { return cut.match; });
      return all;
    case PreTokenizerStep::kContiguous:
      for (const Cut& cut : all) {
        if (cut.match == previous && !cuts.empty()) {
          cuts.back().end = cut.end;
        } else {
          cuts.push_back(cut);
        }
        previous = cut.match;
      }
      return cuts;
    case PreTokenizerStep::kMergedWithPrevious:
      for (const Cut& cut : all) {
        if (cut.match && !previous && !cuts.empty()) {
          cuts.back().end = cut.end;
        } else {
          cuts.push_back(cut);
        }
        previous = cut.match;
      }
      return cuts;
    case PreTokenizerStep::kMergedWithNext:
      for (auto cut = all.rbegin(); cut != all.rend(); ++cut) {
        if (cut->match && !previous && !cuts.empty()) {
          cuts.back().begin = cut->begin;
        } else {
          cuts.push_back(*cut);
        }
        previous = cut->match;
      }
      std::reverse(cuts.begin(), cuts.end());
      return cuts;
  }
  return all;
}

}  // namespace editd::text
