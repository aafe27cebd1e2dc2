#include "plugins/lib/text/bpe.h"

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

}  // namespace
}  // namespace editd::text
