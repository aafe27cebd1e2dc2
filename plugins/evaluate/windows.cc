#include "plugins/evaluate/windows.h"

#include <algorithm>

namespace editd::evaluate {
namespace {

// Every token after s[0] once, in steps of `stride`, with all the context that fits. Begins after s[from].
void CutOverlapping(uint64_t from, uint64_t last, uint64_t context, uint64_t stride, std::vector<Range>* out) {
  while (from < last) {
    const uint64_t end = std::min(last, from == 0 ? context : from + stride);
    out->push_back({end > context ? end - context : 0, from, end});
    from = end;
  }
}

void CutHalves(uint64_t size, uint64_t context, std::vector<Range>* out) {
  for (uint64_t begin = 0; begin + context <= size; begin += context) {
    out->push_back({begin, begin + context / 2, begin + context - 1});
  }
}

void CutStrided(uint64_t size, uint64_t context, uint64_t stride, std::vector<Range>* out) {
  uint64_t scored = 0;
  for (uint64_t begin = 0; scored < size; begin += stride) {
    const uint64_t end = std::min(begin + context, size);
    const uint64_t first = std::max(begin + 1, scored);
    if (end > first) out->push_back({begin, first - 1, end - 1, end - scored - 1});
    scored = end;
  }
}

// A place where a token ends in both: tokens s[1 .. index] lie before it.
struct Boundary {
  uint64_t index[2];
};

std::vector<Boundary> CommonBoundaries(std::span<const uint64_t> a, std::span<const uint64_t> b) {
  std::vector<Boundary> out = {{{0, 0}}};
  size_t i = 0, j = 0;
  while (i + 1 < a.size() && j + 1 < b.size()) {
    // The next token's end on either side, of tokens without text of their own the last.
    const auto next = [](std::span<const uint64_t> ends, size_t k) {
      ++k;
      while (k + 1 < ends.size() && ends[k + 1] == ends[k]) ++k;
      return k;
    };
    i = next(a, i), j = next(b, j);
    while (a[i] != b[j]) {
      if (a[i] < b[j]) {
        if (i + 1 == a.size()) return out;
        i = next(a, i);
      } else {
        if (j + 1 == b.size()) return out;
        j = next(b, j);
      }
    }
    out.push_back({{i, j}});
  }
  return out;
}

}  // namespace

std::vector<Range> CutWindows(uint64_t size, const Settings& settings) {
  std::vector<Range> out;
  const uint64_t last = size == 0 ? 0 : size - 1;
  switch (settings.convention) {
    case Convention::kBytes:
      CutOverlapping(0, last, settings.context, settings.stride, &out);
      break;
    case Convention::kLmEval:
      CutOverlapping(0, last, settings.context, settings.context, &out);
      break;
    case Convention::kLlamaCpp:
      CutHalves(size, settings.context, &out);
      break;
    case Convention::kHfStrided:
      CutStrided(size, settings.context, settings.stride, &out);
      break;
  }
  return out;
}

std::vector<Window> CutCommonWindows(uint32_t text, std::span<const uint64_t> end_a, std::span<const uint64_t> end_b,
                                     const Settings& settings) {
  std::vector<Window> out;
  std::vector<Boundary> boundaries = CommonBoundaries(end_a, end_b);
  const uint64_t last[2] = {end_a.size() - 1, end_b.size() - 1};
  // A tokenizer may leave the last bytes without a token: then the ends are no common place, but must be scored.
  if (boundaries.back().index[0] != last[0] || boundaries.back().index[1] != last[1]) {
    boundaries.push_back({{last[0], last[1]}});
  }
  const uint64_t context = settings.context, stride = settings.stride;
  size_t begin = 0;
  for (size_t from = 0; from + 1 < boundaries.size();) {
    const Boundary& f = boundaries[from];
    const auto fits = [&](size_t e, uint64_t most) {
      return boundaries[e].index[0] - f.index[0] <= most && boundaries[e].index[1] - f.index[1] <= most;
    };
    // A window may begin with s[0] (b = 0), or at the text of boundary b - 1.
    const auto first = [&](size_t b, int side) { return b == 0 ? 0 : boundaries[b - 1].index[side] + 1; };
    const auto length = [&](size_t b, size_t e, int side) { return boundaries[e].index[side] - first(b, side); };
    const auto in_context = [&](size_t b, size_t e) {
      return length(b, e, 0) <= context && length(b, e, 1) <= context;
    };
    size_t end = from;
    while (end + 1 < boundaries.size() && fits(end + 1, from == 0 ? context : stride)) ++end;
    if (end == from && in_context(from, from + 1)) end = from + 1;
    Window window = {.text = text, .of = {}, .paired = true};
    if (end > from) {
      while (end > from + 1 && !in_context(from, end)) --end;
      while (begin < from && !in_context(begin, end)) ++begin;
      if (in_context(begin, end)) {
        for (int side = 0; side < 2; ++side) {
          window.of[side] = {first(begin, side), f.index[side], boundaries[end].index[side]};
        }
        out.push_back(window);
        from = end;
        continue;
      }
    }
    // Too long for one window: each model by itself.
    end = from + 1;
    for (int side = 0; side < 2; ++side) {
      std::vector<Range> own;
      CutOverlapping(f.index[side], boundaries[end].index[side], context, stride, &own);
      for (const Range& range : own) {
        Window alone = {.text = text, .of = {}, .paired = false};
        alone.of[side] = range;
        out.push_back(alone);
      }
    }
    from = end;
  }
  return out;
}

}  // namespace editd::evaluate
