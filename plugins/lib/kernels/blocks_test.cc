// Each instruction set's functions against the plain ones, bit for bit, and the plain ones against what they mean.
#include "plugins/lib/kernels/blocks.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "plugins/lib/kernels/random.h"
#include "storage/base/dtype.h"
#include "storage/base/testing.h"

namespace editd::kernels {
namespace {

// Lengths about every vector's, and a block's.
constexpr size_t kLengths[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257, 2048, 2051};

// Numbers of every size: random bits, without NaN unless wanted.
std::vector<float> Numbers(size_t n, uint32_t seed, bool with_nan = false) {
  std::mt19937 random(seed);
  std::vector<float> out(n);
  for (float& x : out) {
    do {
      x = random() % 4 == 0 ? std::bit_cast<float>(static_cast<uint32_t>(random()))
                            : static_cast<float>(static_cast<int32_t>(random())) * 1e-10f;
      if (random() % 50 == 0) x = 0.0f;
    } while (!with_nan && (!std::isfinite(x) || std::fabs(x) > 1e30f));
  }
  return out;
}

std::vector<uint32_t> Bits(const std::vector<float>& x) {
  std::vector<uint32_t> bits(x.size());
  if (!x.empty()) std::memcpy(bits.data(), x.data(), 4 * x.size());
  return bits;
}

class BlocksTest : public ::testing::TestWithParam<const Blocks*> {
 protected:
  const Blocks& blocks_ = *GetParam();
  const Blocks& plain_ = kPlainBlocks;
};

TEST_P(BlocksTest, LoadsEveryHalfAndBFloat16) {
  std::vector<uint16_t> in(65536 + 5);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(i);
  std::vector<float> ours(in.size()), plain(in.size());
  blocks_.load_f16(in.data(), in.size(), ours.data());
  plain_.load_f16(in.data(), in.size(), plain.data());
  EXPECT_EQ(Bits(ours), Bits(plain));
  blocks_.load_bf16(in.data(), in.size(), ours.data());
  plain_.load_bf16(in.data(), in.size(), plain.data());
  EXPECT_EQ(Bits(ours), Bits(plain));
}

TEST_P(BlocksTest, StoresRoundToNearestEven) {
  // Each half-way point between two stored numbers, its neighbours, NaN and infinity.
  std::vector<float> in = Numbers(100000, 1, true);
  for (uint32_t bits = 0; bits < 65536; bits += 7) {
    for (const uint32_t low : {0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      in.push_back(std::bit_cast<float>(bits << 16 | low));
    }
  }
  std::vector<uint16_t> ours(in.size()), plain(in.size());
  EXPECT_FALSE(blocks_.store_bf16(in.data(), in.size(), ours.data()));
  EXPECT_FALSE(plain_.store_bf16(in.data(), in.size(), plain.data()));
  EXPECT_EQ(ours, plain);
  EXPECT_FALSE(blocks_.store_f16(in.data(), in.size(), ours.data()));
  EXPECT_FALSE(plain_.store_f16(in.data(), in.size(), plain.data()));
  EXPECT_EQ(ours, plain);
}

TEST_P(BlocksTest, StoresTellWhatIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::numeric_limits<float>::quiet_NaN()}) {
    for (const size_t at : {size_t{0}, size_t{20}, size_t{64}, size_t{66}}) {
      std::vector<float> in(67, 1.0f), out(67);
      EXPECT_TRUE(blocks_.store_f32(in.data(), in.size(), out.data()));
      EXPECT_TRUE(blocks_.store_f16(in.data(), in.size(), out.data()));
      EXPECT_TRUE(blocks_.store_bf16(in.data(), in.size(), out.data()));
      in[at] = bad;
      EXPECT_FALSE(blocks_.store_f32(in.data(), in.size(), out.data())) << at;
      EXPECT_FALSE(blocks_.store_f16(in.data(), in.size(), out.data())) << at;
      EXPECT_FALSE(blocks_.store_bf16(in.data(), in.size(), out.data())) << at;
    }
  }
  std::vector<float> large(40, 65520.0f), out(40);  // Finite, but not in a half.
  EXPECT_FALSE(blocks_.store_f16(large.data(), large.size(), out.data()));
  EXPECT_TRUE(blocks_.store_bf16(large.data(), large.size(), out.data()));
}

TEST_P(BlocksTest, ElementsAreThePlainOnes) {
  for (const size_t n : kLengths) {
    const std::vector<float> x = Numbers(n, 2), y = Numbers(n, 3), z = Numbers(n, 4);
    std::vector<uint32_t> bits(n);
    std::mt19937 random(5);
    for (uint32_t& b : bits) b = static_cast<uint32_t>(random());
    const auto same = [&](const char* what, const auto& run) {
      std::vector<float> a = z, b = z, a2 = y, b2 = y;
      run(blocks_, a, a2);
      run(plain_, b, b2);
      EXPECT_EQ(Bits(a), Bits(b)) << what << " of " << n;
      EXPECT_EQ(Bits(a2), Bits(b2)) << what << " of " << n;
    };
    using V = std::vector<float>;
    same("scale", [&](const Blocks& k, V& a, V&) { k.scale(x.data(), 0.3f, n, a.data()); });
    same("add_scaled", [&](const Blocks& k, V& a, V&) { k.add_scaled(x.data(), 0.3f, n, a.data()); });
    same("add", [&](const Blocks& k, V& a, V&) { k.add(x.data(), y.data(), n, a.data()); });
    same("subtract", [&](const Blocks& k, V& a, V&) { k.subtract(x.data(), y.data(), n, a.data()); });
    same("multiply", [&](const Blocks& k, V& a, V&) { k.multiply(x.data(), y.data(), n, a.data()); });
    same("divide", [&](const Blocks& k, V& a, V&) { k.divide(a.data(), 1.7f, n); });
    same("divide_each", [&](const Blocks& k, V& a, V& b) { k.divide_each(a.data(), b.data(), n); });
    for (const uint32_t least : {0u, 0x30000000u, 0xffffffffu}) {
      same("keep_between", [&](const Blocks& k, V& a, V&) { k.keep_between(a.data(), least, 0x3f000000u, n); });
      same("keep_between", [&](const Blocks& k, V& a, V&) { k.keep_between(a.data(), least, 0xffffffffu, n); });
    }
    same("keep_random", [&](const Blocks& k, V& a, V&) { k.keep_random(a.data(), bits.data(), 0x90000000u, n); });
    std::vector<uint64_t> mask(n / 64 + 1);
    for (uint64_t& word : mask) word = uint64_t{random()} << 32 | random();
    same("keep_masked", [&](const Blocks& k, V& a, V&) { k.keep_masked(a.data(), mask.data(), n); });
    const float* models[] = {x.data(), y.data(), z.data()};
    const float weights[] = {0.7f, -0.4f, 0.1f};
    for (const auto by : {Election::By::kWeighted, Election::By::kPlain, Election::By::kSigns}) {
      for (const float* shares : {static_cast<const float*>(nullptr), weights}) {
        same("elect", [&](const Blocks& k, V& a, V&) { k.elect(models, {by, 3, weights, shares}, n, a.data()); });
      }
    }
    same("near", [&](const Blocks& k, V& a, V&) { k.near(x.data(), y.data(), 0.01f, n, a.data()); });
  }
}

TEST_P(BlocksTest, SumsAreThePlainOnes) {
  for (const size_t n : kLengths) {
    const std::vector<float> x = Numbers(n, 6), y = Numbers(n, 7);
    EXPECT_EQ(blocks_.dot(x.data(), y.data(), n), plain_.dot(x.data(), y.data(), n)) << n;
    EXPECT_EQ(blocks_.sum_abs(x.data(), n), plain_.sum_abs(x.data(), n)) << n;
    std::vector<uint64_t> mask(n / 64 + 1);
    std::mt19937_64 random(n);
    for (uint64_t& word : mask) word = random();
    double all = 0, kept = 0;
    blocks_.sums_abs_masked(x.data(), mask.data(), n, &all, &kept);
    EXPECT_EQ(all, plain_.sum_abs(x.data(), n)) << n;
    std::vector<float> only = x;
    plain_.keep_masked(only.data(), mask.data(), n);
    EXPECT_EQ(kept, plain_.sum_abs(only.data(), n)) << n;
  }
}

TEST_P(BlocksTest, CountsAreThePlainOnes) {
  std::vector<float> x = Numbers(5000, 8);
  for (size_t i = 0; i < x.size(); i += 3) x[i] = std::bit_cast<float>(0xbf800000u + static_cast<uint32_t>(i % 5));
  std::vector<uint32_t> ours(kLowCounts), plain(kLowCounts);
  blocks_.count_high(x.data(), x.size(), ours.data());
  plain_.count_high(x.data(), x.size(), plain.data());
  EXPECT_EQ(ours, plain);
  EXPECT_GT(ours[0x3f80], 1600u);
  blocks_.count_low(x.data(), 0x3f80, x.size(), ours.data());
  plain_.count_low(x.data(), 0x3f80, x.size(), plain.data());
  EXPECT_EQ(ours, plain);
  std::vector<uint32_t> collected(x.size() + kMaxLanes), expected(x.size() + kMaxLanes);
  uint64_t above = 3, expected_above = 3;
  collected.resize(blocks_.collect_between(x.data(), 0x3f800001u, 0x3f800004u, x.size(), collected.data(), &above));
  expected.resize(
      plain_.collect_between(x.data(), 0x3f800001u, 0x3f800004u, x.size(), expected.data(), &expected_above));
  EXPECT_EQ(collected, expected);
  EXPECT_GT(collected.size(), 900u);
  EXPECT_EQ(above, expected_above);
  EXPECT_EQ(blocks_.count_equal(x.data(), 0x3f800002u, x.size()), plain_.count_equal(x.data(), 0x3f800002u, x.size()));
}

TEST_P(BlocksTest, RandomBitsAreTheSameByNumberAndInRows) {
  constexpr uint64_t kSeed = 0x123456789abcdef0u, kName = HashName("model.norm.weight");
  for (const uint64_t first : {uint64_t{0}, uint64_t{64}, uint64_t{1} << 40}) {
    std::vector<uint32_t> out(256);
    blocks_.random_bits(kSeed, kName, 3, first, 200, out.data());
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_EQ(out[i], RandomBits(kSeed, kName, 3, first + i)) << first << " " << i;
    std::vector<uint64_t> mask(5, 77);
    blocks_.random_mask(kSeed, kName, 3, first, 250, 0x70000000u, mask.data());
    for (size_t i = 0; i < 256; ++i) ASSERT_EQ(mask[i / 64] >> (i % 64) & 1, out[i] < 0x70000000u) << first << " " << i;
    EXPECT_EQ(mask[4], 77u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, BlocksTest, ::testing::ValuesIn(AllBlocks()),
                         [](const auto& info) { return info.param->name + std::to_string(info.index); });

TEST(Blocks, TheBestIsNotThePlainOneOnX86) { EXPECT_NE(&ForThisMachine(), &kPlainBlocks); }

// The known answers of the authors' own library (kat_vectors).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, 0, 0), (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(BlocksPlain, NearIsTheOtherModelWhereTheyAreNear) {
  const float base[] = {1.0f, 1.0f, 1.0f}, x[] = {1.0f, 1.001f, 3.0f};
  float out[3];
  kPlainBlocks.near(base, x, 0.01f, 3, out);
  EXPECT_EQ(out[0], 1.0f);
  EXPECT_EQ(out[1], 1.001f);
  EXPECT_NEAR(out[2], 1.01f, 1e-6);
}

TEST(BlocksPlain, ElectCountsTheElectedSignAndNoZeros) {
  const float a[] = {1.0f, -1.0f, 0.0f, 2.0f}, b[] = {-1.0f, 3.0f, 0.0f, -5.0f}, weights[] = {0.5f, 0.25f};
  const float* models[] = {a, b};
  float out[4];
  kPlainBlocks.elect(models, {Election::By::kWeighted, 2, weights, nullptr}, 4, out);
  EXPECT_THAT(out, ::testing::ElementsAre(0.5f, 0.75f, 0.0f, -1.25f));
  kPlainBlocks.elect(models, {Election::By::kWeighted, 2, weights, weights}, 4, out);
  EXPECT_THAT(out, ::testing::ElementsAre(1.0f, 3.0f, 0.0f, -5.0f));
  kPlainBlocks.elect(models, {Election::By::kSigns, 2, weights, nullptr}, 4, out);  // One of each sign: plus.
  EXPECT_THAT(out, ::testing::ElementsAre(0.5f, 0.75f, 0.0f, 1.0f));
}

}  // namespace
}  // namespace editd::kernels
