// The rule: as long as some adjacent pair is in the list, merge the pair of lowest rank, of equal ones the leftmost.
//
// Pre-tokens are short, so mostly the ranks of all adjacent pairs stand in an array, its minimum is found by looking at
// each, and a merge closes the gap: quadratic, but of a few dozen. Longer pieces (a line of one letter, a text without
// spaces) use a linked list and a heap by (rank, position): n log n. A pair is stale if the rank at its position is no
// longer its own; ranks name pairs, so this test is exact. Pairs of one rank that are found one behind the other (all
// of a line of one letter) are one run, and the heap has runs, by their first pair that is left: so a megabyte of one
// letter has a heap of a few.
#include "plugins/lib/text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "plugins/lib/text/unicode.h"
#include "storage/base/strings.h"

namespace editd::text {
namespace {

constexpr size_t kShort = 48;              // Symbols; where the heap begins to win.
constexpr uint32_t kRemembered = 1 << 16;  // Symbols; memory for longer pieces is not kept for the next.
constexpr uint32_t kNone = ~uint32_t{0};

}  // namespace

absl::Status Bpe::SetMerges(const std::vector<Merge>& merges) {
  if (merges.size() > kMostMerges) {
    return absl::UnimplementedError(
        StrCat("tokenizer.json: model.merges: ", merges.size(), " are not supported; the most is ", kMostMerges));
  }
  pairs_ = HugeArray<uint64_t>(std::bit_ceil(merges.size() * 2 + 2), kNoPair);
  results_.resize(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    results_[rank] = merge.result;
    const uint64_t pair = Pair(merge.left, merge.right);
    pairs_[PlaceOf(pair)] = pair | rank;
  }
  return absl::OkStatus();
}

void Bpe::SetBytes(const TokenId (&bytes)[256], TokenId unknown, bool fuse) {
  std::copy(std::begin(bytes), std::end(bytes), std::begin(bytes_));
  unknown_ = unknown;
  fuse_ = fuse;
}

void Bpe::SetCharacters(const std::vector<std::pair<uint32_t, TokenId>>& characters, const TokenId (&bytes)[256],
                        TokenId unknown, bool fuse) {
  SetBytes(bytes, unknown, fuse);
  by_character_ = true;
  std::fill(std::begin(ascii_), std::end(ascii_), kNoToken);
  characters_.Reserve(characters.size());
  for (const auto& [c, id] : characters) {
    if (c < 0x80) {
      ascii_[c] = id;
    } else {
      characters_.Insert(c, id);
    }
  }
}

void Bpe::Bytes(std::string_view piece, bool drops_count, Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  bool after_unknown = false;
  for (char c : piece) {
    const TokenId id = bytes_[static_cast<uint8_t>(c)];
    if (id != kNoToken) {
      symbols.push_back({id, 1});
      after_unknown = false;
    } else if (unknown_ != kNoToken) {
      if (fuse_ && after_unknown) {
        ++symbols.back().bytes;
      } else {
        symbols.push_back({unknown_, 1});
      }
      after_unknown = true;
    } else if (drops_count) {  // Dropped, so its neighbours touch.
      if (symbols.empty()) {
        ++scratch->skipped;
      } else {
        ++symbols.back().bytes;
      }
    }
  }
}

// The reference holds an unknown token back to fuse it with the next, and lets it go before the next character that has
// a token; those of bytes do not count as one, so it comes after them. So it does here.
void Bpe::Characters(std::string_view piece, bool drops_count, Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  uint32_t held = 0;  // Bytes of the unknown token.
  auto let_go = [&] {
    if (held > 0) symbols.push_back({unknown_, held});
    held = 0;
  };
  const char* const end = piece.data() + piece.size();
  for (const char* p = piece.data(); p < end;) {
    int length;
    const uint32_t c = DecodeUtf8(p, end, &length);
    const bool valid = c != 0xfffd || length == 3;
    const TokenId id = valid ? Character(c) : kNoToken;
    if (id != kNoToken) {
      let_go();
      symbols.push_back({id, static_cast<uint32_t>(length)});
    } else if (std::all_of(p, p + length, [this](char b) { return bytes_[static_cast<uint8_t>(b)] != kNoToken; })) {
      for (int i = 0; i < length; ++i) symbols.push_back({bytes_[static_cast<uint8_t>(p[i])], 1});
    } else if (unknown_ != kNoToken) {
      if (!fuse_) let_go();
      held += length;
    } else if (drops_count) {
      if (symbols.empty()) {
        scratch->skipped += length;
      } else {
        symbols.back().bytes += length;
      }
    }
    p += length;
  }
  let_go();
}

void Bpe::Apply(std::string_view piece, Scratch* scratch, bool drops_count) const {
  auto& symbols = scratch->symbols;
  symbols.clear();
  scratch->skipped = 0;
  if (by_character_) {
    Characters(piece, drops_count, scratch);
  } else {
    Bytes(piece, drops_count, scratch);
  }
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShort) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
}

void Bpe::MergeShort(Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  size_t size = symbols.size();
  uint32_t ranks[kShort];  // Of symbol i with i + 1.
  for (size_t i = 0; i + 1 < size; ++i) ranks[i] = Rank(symbols[i].id, symbols[i + 1].id);
  for (;;) {
    uint32_t best = kNoRank;
    size_t at = 0;
    for (size_t i = 0; i + 1 < size; ++i) {
      if (ranks[i] < best) {
        best = ranks[i];
        at = i;
      }
    }
    if (best == kNoRank) break;
    symbols[at].id = results_[best];
    symbols[at].bytes += symbols[at + 1].bytes;
    for (size_t i = at + 1; i + 1 < size; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i - 1] = ranks[i];
    }
    --size;
    if (at + 1 < size) ranks[at] = Rank(symbols[at].id, symbols[at + 1].id);
    if (at > 0) ranks[at - 1] = Rank(symbols[at - 1].id, symbols[at].id);
  }
  symbols.resize(size);
}

void Bpe::MergeLong(Scratch* scratch) const {
  auto& symbols = scratch->symbols;
  auto& ranks = scratch->ranks;
  auto& next = scratch->next;
  auto& previous = scratch->previous;
  auto& heap = scratch->heap;
  auto& pairs = scratch->pairs;
  const auto size = static_cast<uint32_t>(symbols.size());
  ranks.assign(size, kNoRank);
  next.resize(size);
  previous.resize(size);
  heap.clear();
  pairs.clear();
  struct Open {
    uint32_t rank = kNoRank, last = 0;
  };
  Open open_runs[256];  // By a hash of the rank: runs that may be made longer, and their last pairs.
  const auto open = [&open_runs](uint32_t rank) -> Open& { return open_runs[rank * 0x9e3779b1u >> 24]; };
  const auto later = [](const Scratch::Run& a, const Scratch::Run& b) { return a.key > b.key; };
  const auto key_of = [](uint32_t rank, uint32_t at) { return static_cast<uint64_t>(rank) << 32 | at; };
  const auto update = [&](uint32_t left, uint32_t right) {
    const uint32_t rank = ranks[left] = Rank(symbols[left].id, symbols[right].id);
    if (rank == kNoRank) return;
    const auto pair = static_cast<uint32_t>(pairs.size());
    pairs.push_back({left, kNone});
    Open& run = open(rank);
    if (run.rank == rank && pairs[run.last].at < left) {
      pairs[run.last].next = pair;
    } else {
      heap.push_back({key_of(rank, left), pair});
      std::push_heap(heap.begin(), heap.end(), later);
    }
    run = {rank, pair};
  };
  for (uint32_t i = 0; i < size; ++i) {
    next[i] = i + 1 < size ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
    if (i + 1 < size) update(i, i + 1);
  }
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const auto rank = static_cast<uint32_t>(heap.back().key >> 32);
    uint32_t pair = heap.back().first;
    heap.pop_back();
    for (;;) {
      const uint32_t at = pairs[pair].at;
      if (ranks[at] == rank) {
        const uint32_t gone = next[at];
        symbols[at].id = results_[rank];
        symbols[at].bytes += symbols[gone].bytes;
        symbols[gone].bytes = 0;
        ranks[gone] = kNoRank;
        ranks[at] = kNoRank;
        next[at] = next[gone];
        if (next[at] != kNone) previous[next[at]] = at;
        if (previous[at] != kNone) update(previous[at], at);
        if (next[at] != kNone) update(at, next[at]);
      }
      Open& run = open(rank);
      if (pairs[pair].next == kNone) {
        if (run.rank == rank && run.last == pair) run.rank = kNoRank;
        break;
      }
      pair = pairs[pair].next;
      const uint64_t key = key_of(rank, pairs[pair].at);
      if (!heap.empty() && heap.front().key < key) {
        heap.push_back({key, pair});
        std::push_heap(heap.begin(), heap.end(), later);
        break;
      }
    }
  }
  size_t kept = 0;
  for (uint32_t i = 0; i != kNone; i = next[i]) symbols[kept++] = symbols[i];
  symbols.resize(kept);
  if (size <= kRemembered) return;
  for (auto* memory : {&ranks, &next, &previous}) std::vector<uint32_t>().swap(*memory);
  std::vector<Scratch::Pair>().swap(pairs);
  std::vector<Scratch::Run>().swap(heap);
}

}  // namespace editd::text
