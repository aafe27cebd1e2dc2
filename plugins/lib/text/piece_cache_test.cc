#include "plugins/lib/text/piece_cache.h"

#include <thread>

#include "plugins/lib/text/shared_pieces.h"
#include "storage/base/strings.h"
#include "storage/base/testing.h"

namespace editd::text {
namespace {

// Ids that a piece's number tells.
std::vector<TokenId> IdsOf(size_t i) {
  std::vector<TokenId> ids(i % 7 + 1);
  for (size_t k = 0; k < ids.size(); ++k) ids[k] = static_cast<TokenId>(i * 7 + k);
  return ids;
}

std::vector<TokenId> Found(const PieceCache& cache, std::string_view piece) {
  const PieceCache::Ids ids = cache.Find(piece);
  return ids.data ? std::vector<TokenId>(ids.data, ids.data + ids.size) : std::vector<TokenId>();
}

TEST(PieceKey, IsTheSameWithAndWithoutReadingBeyondThePiece) {
  const std::string text = "abcdefghijklmnopqrstuvwxyz";
  for (size_t size = 0; size <= PieceKey::kMost; ++size) {
    const std::string alone = text.substr(0, size);
    EXPECT_EQ(PieceKey::At(text.data(), size), PieceKey::Of(alone)) << size;
  }
  EXPECT_FALSE(PieceKey::Of("a") == PieceKey::Of(std::string_view("a\0", 2)));
}

TEST(PieceCache, FindsWhatWasInserted) {
  PieceCache cache;
  const auto piece = [](size_t i) { return StrCat(std::string(i % 40, 'x'), i); };
  for (size_t i = 0; i < 50000; ++i) {
    const auto ids = IdsOf(i);
    cache.Insert(piece(i), ids.data(), ids.size());
    ASSERT_EQ(Found(cache, piece(i)), ids);
  }
  size_t kept = 0;
  for (size_t i = 0; i < 50000; ++i) {
    const auto found = Found(cache, piece(i));
    if (found.empty()) continue;
    ++kept;
    ASSERT_EQ(found, IdsOf(i)) << i;
  }
  EXPECT_GT(kept, 1000u);
  EXPECT_EQ(cache.Find("never").data, nullptr);
}

TEST(PieceCache, ForgetsBeforeItOutgrowsItsBound) {
  PieceCache cache;
  size_t most = 0;
  std::vector<TokenId> ids(PieceCache::kLongKey, 7);
  for (size_t i = 0; i < 600000; ++i) {
    std::string piece = StrCat(i);
    if (i % 3 == 0) piece.resize(16 + i % 50, '-');
    if (i % 64 == 0) piece.resize(i % 5000 + 16, '=');
    cache.Insert(piece, ids.data(), std::min(piece.size(), ids.size()));
    most = std::max(most, cache.bytes());
  }
  EXPECT_LE(most, PieceCache::kMostBytes);
  EXPECT_LT(PieceCache::kMostBytes, size_t{18} << 20);
  EXPECT_GT(most, PieceCache::kMostBytes / 4);  // The test has filled it.
}

TEST(SharedPieces, ThreadsFindWholePiecesOnly) {
  SharedPieces pieces;
  pieces.Open();
  const auto key = [](size_t i) { return PieceKey::Of(StrCat("p", i)); };
  std::atomic<size_t> found = 0;
  const auto work = [&](size_t first) {
    for (size_t i = 0; i < 2 * SharedPieces::kSlots; ++i) {
      const size_t n = (first + i) % (SharedPieces::kSlots + 1000);
      TokenId ids[SharedPieces::kMostIds];
      const size_t count = pieces.Find(key(n), ids);
      if (count > 0) {
        ++found;
        EXPECT_EQ(std::vector<TokenId>(ids, ids + count), IdsOf(n));
      } else {
        const auto made = IdsOf(n);
        pieces.Insert(key(n), made.data(), made.size());
      }
    }
  };
  std::thread other(work, 500);
  work(0);
  other.join();
  EXPECT_GT(found, SharedPieces::kSlots / 4);
  EXPECT_LE(pieces.size(), SharedPieces::kSlots / 2 + 1);  // It takes no more, and still answers.
}

}  // namespace
}  // namespace editd::text
