// Byte-pair merging by rank: what a pre-token becomes.
//
// The order of merges is the order of tokenizer.json's list, never that of ids: a trimmed or extended vocabulary may
// number its tokens as it likes. Immutable once filled; Scratch is a thread's own.
#ifndef EDITD_PLUGINS_LIB_TEXT_BPE_H_
#define EDITD_PLUGINS_LIB_TEXT_BPE_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "plugins/lib/text/flat_table.h"
#include "plugins/lib/text/huge_array.h"
#include "storage/base/status.h"

namespace editd::text {

using TokenId = uint32_t;
inline constexpr TokenId kNoToken = ~TokenId{0};

// left + right -> result; its rank is its place in the list, the lowest goes first.
struct Merge {
  TokenId left, right, result;
};

class Bpe {
 public:
  // A token and the number of bytes of the piece that it covers.
  struct Symbol {
    TokenId id;
    uint32_t bytes;
  };

  // Memory that Apply works in, to be used again.
  struct Scratch {
    std::vector<Symbol> symbols;  // The result.
    size_t skipped = 0;           // Bytes before the first symbol that have none.
    std::vector<uint32_t> ranks;
    std::vector<uint32_t> next, previous;
    struct Pair {
      uint32_t at, next;  // Where its left symbol is; the next of its run.
    };
    struct Run {
      uint64_t key;    // Rank and position of its first pair.
      uint32_t first;  // Index into pairs.
    };
    std::vector<Pair> pairs;
    std::vector<Run> heap;
  };

  // A pair listed twice has its last rank, as in the reference. UNIMPLEMENTED if there are more than kMostMerges.
  static constexpr size_t kMostMerges = (1 << 22) - 1;
  absl::Status SetMerges(const std::vector<Merge>& merges);

  // What merging begins with: a token for each byte of a piece, or for each character. `unknown`: the token for those
  // that have none (kNoToken: they are dropped, as in the reference); `fuse`: a run of them is one token.
  void SetBytes(const TokenId (&bytes)[256], TokenId unknown, bool fuse);
  // `bytes`: what stands for a character without a token, if each of its bytes has one (byte_fallback).
  void SetCharacters(const std::vector<std::pair<uint32_t, TokenId>>& characters, const TokenId (&bytes)[256],
                     TokenId unknown, bool fuse);

  // Leaves the tokens of `piece` in scratch->symbols. `drops_count`: a byte that is dropped counts as the token's
  // before it, so that symbols cover the piece; else it counts nowhere, as in the reference.
  void Apply(std::string_view piece, Scratch* scratch, bool drops_count = true) const;

 private:
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  // A slot of pairs_: left, right and rank, of 21, 21 and 22 bits; ids are below 2^21 (ParseTokenizerJson).
  static constexpr int kRankBits = 22, kIdBits = 21;
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  static uint64_t Pair(TokenId left, TokenId right) {
    return (static_cast<uint64_t>(left) << kIdBits | right) << kRankBits;
  }
  // Where a pair is, or else would be.
  size_t PlaceOf(uint64_t pair) const {
    const size_t mask = pairs_.size() - 1;
    for (size_t i = MixHash(pair, secret_) & mask;; i = (i + 1) & mask) {
      if ((pairs_[i] ^ pair) >> kRankBits == 0 || pairs_[i] == kNoPair) return i;
    }
  }
  uint32_t Rank(TokenId left, TokenId right) const {
    const uint64_t found = pairs_[PlaceOf(Pair(left, right))];
    return found == kNoPair ? kNoRank : static_cast<uint32_t>(found & kMostMerges);
  }
  void Bytes(std::string_view piece, bool drops_count, Scratch* scratch) const;
  void Characters(std::string_view piece, bool drops_count, Scratch* scratch) const;
  TokenId Character(uint32_t c) const {
    if (c < 0x80) return ascii_[c];
    const uint64_t* id = characters_.Get(c);
    return id ? static_cast<TokenId>(*id) : kNoToken;
  }
  void MergeShort(Scratch* scratch) const;
  void MergeLong(Scratch* scratch) const;

  const uint64_t secret_ = HashSecret();
  HugeArray<uint64_t> pairs_ = HugeArray<uint64_t>(2, kNoPair);
  std::vector<TokenId> results_;  // By rank.
  bool by_character_ = false;
  TokenId ascii_[128] = {};
  PairTable characters_;  // Code point -> id.
  TokenId bytes_[256] = {};
  TokenId unknown_ = kNoToken;
  bool fuse_ = false;
};

}  // namespace editd::text

#endif  // EDITD_PLUGINS_LIB_TEXT_BPE_H_
