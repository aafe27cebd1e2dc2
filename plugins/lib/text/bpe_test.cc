#include "plugins/lib/text/bpe.h"

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <utility>

#include "storage/base/testing.h"

namespace editd::text {
namespace {

TEST(Bpe, RefusesMoreMergesThanItCanRank) {
  Bpe bpe;
  const std::vector<Merge> merges(Bpe::kMostMerges + 1);
  EXPECT_THAT(bpe.SetMerges(merges),
              StatusIs(absl::StatusCode::kUnimplemented,
                       "tokenizer.json: model.merges: 4194304 are not supported; the most is 4194303"));
}

TEST(Bpe, APairListedTwiceHasItsLastRank) {
  Bpe bpe;
  TokenId bytes[256];
  for (TokenId i = 0; i < 256; ++i) bytes[i] = i;
  bpe.SetBytes(bytes, kNoToken, false);
  ASSERT_OK(bpe.SetMerges({{'a', 'b', 300}, {'b', 'c', 301}, {'a', 'b', 302}}));
  Bpe::Scratch scratch;
  bpe.Apply("abc", &scratch);
  ASSERT_EQ(scratch.symbols.size(), 2u);
  EXPECT_EQ(scratch.symbols[0].id, TokenId{'a'});
  EXPECT_EQ(scratch.symbols[1].id, 301u);
  bpe.Apply("ab", &scratch);
  ASSERT_EQ(scratch.symbols.size(), 1u);
  EXPECT_EQ(scratch.symbols[0].id, 302u);
}

// The rule itself: of all pairs in the list the lowest rank, of these the leftmost, again and again.
std::vector<TokenId> ByTheRule(std::vector<TokenId> symbols, const std::vector<Merge>& merges) {
  for (;;) {
    size_t best = merges.size(), at = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best; ++rank) {
        if (merges[rank].left == symbols[i] && merges[rank].right == symbols[i + 1]) {
          best = rank;
          at = i;
        }
      }
    }
    if (best == merges.size()) return symbols;
    symbols[at] = merges[best].result;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
}

// Random lists, most of them no trainer's: a merge may make a pair that should have gone before it.
TEST(Bpe, MergesLongPiecesByTheRule) {
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    const uint32_t letters = 1 + random() % 4;
    std::vector<TokenId> tokens;
    for (TokenId i = 0; i < letters; ++i) tokens.push_back('a' + i);
    std::vector<Merge> merges;
    std::set<std::pair<TokenId, TokenId>> pairs;
    for (TokenId next = 300; next < 300 + 30; ++next) {
      const TokenId left = tokens[random() % tokens.size()], right = tokens[random() % tokens.size()];
      if (!pairs.emplace(left, right).second) continue;
      merges.push_back({left, right, next});
      tokens.push_back(next);
    }
    if (round % 2 == 0) std::shuffle(merges.begin(), merges.end(), random);
    Bpe bpe;
    TokenId bytes[256];
    for (TokenId i = 0; i < 256; ++i) bytes[i] = i;
    bpe.SetBytes(bytes, kNoToken, false);
    ASSERT_OK(bpe.SetMerges(merges));
    std::string piece;
    while (piece.size() < 49 + random() % 200) {
      piece.append(1 + random() % (round % 3 == 0 ? 40 : 2), static_cast<char>('a' + random() % letters));
    }
    Bpe::Scratch scratch;
    bpe.Apply(piece, &scratch);
    std::vector<TokenId> got;
    size_t covered = 0;
    for (const Bpe::Symbol& symbol : scratch.symbols) {
      got.push_back(symbol.id);
      covered += symbol.bytes;
    }
    ASSERT_EQ(got, ByTheRule({piece.begin(), piece.end()}, merges)) << piece;
    ASSERT_EQ(covered, piece.size());
  }
}

}  // namespace
}  // namespace editd::text
