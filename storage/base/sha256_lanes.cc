// A message is cut into blocks of 64 bytes. Its first block holds the mark and 63 bytes of the chunk; the blocks of the
// middle are read where they lie; what is left, the padding and the length make one or two more. So a lane goes through
// three pieces of memory. All lanes step together by as many blocks as the shortest piece among them has; a lane whose
// message is done leaves, and the rest go on with one lane fewer.
//
// A state is kept as the instructions want it: words ABEF in one register, CDGH in the other. sha256rnds2 does two
// rounds; its result depends on the one before it, and takes four cycles. With four lanes, four are under way.
#include "storage/base/sha256_lanes.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

namespace editd {
namespace {

#define EDITD_SHA __attribute__((target("sha,sse4.1,ssse3")))

constexpr size_t kBlock = 64;

// The fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
alignas(64) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

struct State {
  __m128i abef, cdgh;
};

// The next `blocks` blocks of each lane.
template <size_t kLanes>
EDITD_SHA void Compress(State* const* states, const char* const* data, size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const char* at[kLanes];
  State sums[kLanes];
  for (size_t l = 0; l < kLanes; ++l) {
    at[l] = data[l];
    sums[l] = *states[l];
  }
  for (; blocks > 0; --blocks) {
    __m128i words[kLanes][4];
    State now[kLanes];
    for (size_t l = 0; l < kLanes; ++l) {
      now[l] = sums[l];
      for (int i = 0; i < 4; ++i) {
        words[l][i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at[l] + 16 * i)), big_endian);
      }
      at[l] += kBlock;
    }
#pragma GCC unroll 16
    for (int g = 0; g < 16; ++g) {  // Four rounds.
      const __m128i constants = _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds + 4 * g));
#pragma GCC unroll 4
      for (size_t l = 0; l < kLanes; ++l) {
        __m128i* const w = words[l];
        const __m128i sum = _mm_add_epi32(w[g % 4], constants);
        now[l].cdgh = _mm_sha256rnds2_epu32(now[l].cdgh, now[l].abef, sum);
        now[l].abef = _mm_sha256rnds2_epu32(now[l].abef, now[l].cdgh, _mm_shuffle_epi32(sum, 0x0e));
        if (g >= 12) continue;
        const __m128i first = _mm_add_epi32(_mm_sha256msg1_epu32(w[g % 4], w[(g + 1) % 4]),
                                            _mm_alignr_epi8(w[(g + 3) % 4], w[(g + 2) % 4], 4));
        w[g % 4] = _mm_sha256msg2_epu32(first, w[(g + 3) % 4]);
      }
    }
    for (size_t l = 0; l < kLanes; ++l) {
      sums[l].abef = _mm_add_epi32(sums[l].abef, now[l].abef);
      sums[l].cdgh = _mm_add_epi32(sums[l].cdgh, now[l].cdgh);
    }
  }
  for (size_t l = 0; l < kLanes; ++l) *states[l] = sums[l];
}

// One message on its way.
class Lane {
 public:
  EDITD_SHA void Begin(char mark, std::string_view chunk, Id* id) {
    state_.abef = _mm_set_epi32(0x6a09e667, static_cast<int>(0xbb67ae85), 0x510e527f, static_cast<int>(0x9b05688c));
    state_.cdgh = _mm_set_epi32(0x3c6ef372, static_cast<int>(0xa54ff53a), 0x1f83d9ab, 0x5be0cd19);
    id_ = id;
    std::memset(ends_, 0, sizeof(ends_));
    // The message is: first | middle | last, the first and last in ends_.
    ends_[0] = mark;
    const size_t in_first = std::min(chunk.size(), kBlock - 1);
    if (in_first > 0) std::memcpy(ends_ + 1, chunk.data(), in_first);
    const size_t length = chunk.size() + 1;
    const bool has_first = length >= kBlock;  // Else all of the message is in the last piece.
    const std::string_view rest = has_first ? chunk.substr(kBlock - 1) : std::string_view();
    char* const last = has_first ? ends_ + kBlock : ends_;
    const size_t in_last = has_first ? rest.size() % kBlock : length;
    const size_t last_blocks = in_last + 9 <= kBlock ? 1 : 2;
    if (has_first && in_last > 0) std::memcpy(last, rest.data() + rest.size() - in_last, in_last);
    last[in_last] = static_cast<char>(0x80);
    const uint64_t bits = __builtin_bswap64(uint64_t{8} * length);
    std::memcpy(last + last_blocks * kBlock - 8, &bits, 8);
    pieces_[0] = {ends_, has_first ? 1u : 0u};
    pieces_[1] = {rest.data(), rest.size() / kBlock};
    pieces_[2] = {last, last_blocks};
    piece_ = 0;
    SkipEmpty();
  }
  bool done() const { return piece_ == 3; }
  const char* data() const { return pieces_[piece_].data; }
  size_t blocks() const { return pieces_[piece_].blocks; }
  State* state() { return &state_; }

  void Advance(size_t blocks) {
    pieces_[piece_].data += blocks * kBlock;
    pieces_[piece_].blocks -= blocks;
    SkipEmpty();
  }
  EDITD_SHA void Finish() {
    alignas(16) uint32_t abef[4], cdgh[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(abef), state_.abef);
    _mm_store_si128(reinterpret_cast<__m128i*>(cdgh), state_.cdgh);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2], abef[1], abef[0], cdgh[1], cdgh[0]};
    for (size_t i = 0; i < 8; ++i) {
      const uint32_t word = __builtin_bswap32(words[i]);
      std::memcpy(id_->bytes.data() + 4 * i, &word, 4);
    }
  }

 private:
  struct Piece {
    const char* data;
    size_t blocks;
  };
  void SkipEmpty() {
    while (piece_ < 3 && pieces_[piece_].blocks == 0) ++piece_;
  }

  State state_;
  Id* id_;
  Piece pieces_[3];
  size_t piece_;
  char ends_[3 * kBlock];
};

// All lanes go as far as the one with the shortest piece.
void Step(std::span<Lane* const> lanes) {
  State* states[kSha256Lanes];
  const char* data[kSha256Lanes];
  size_t blocks = lanes[0]->blocks();
  for (size_t l = 0; l < lanes.size(); ++l) {
    states[l] = lanes[l]->state();
    data[l] = lanes[l]->data();
    blocks = std::min(blocks, lanes[l]->blocks());
  }
  switch (lanes.size()) {
    case 1:
      Compress<1>(states, data, blocks);
      break;
    case 2:
      Compress<2>(states, data, blocks);
      break;
    case 3:
      Compress<3>(states, data, blocks);
      break;
    default:
      Compress<4>(states, data, blocks);
  }
  for (Lane* lane : lanes) lane->Advance(blocks);
}

}  // namespace

bool Sha256Marked(char mark, std::span<const std::string_view> chunks, Id* ids) {
  static const bool supported = __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3") && [] {
    unsigned a = 0, b = 0, c = 0, d = 0;  // gcc 12 has no name for it.
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
  }();
  if (!supported) return false;
  Lane lanes[kSha256Lanes];
  Lane* busy[kSha256Lanes];
  size_t count = 0, next = 0;
  for (; count < kSha256Lanes && next < chunks.size(); ++count, ++next) {
    busy[count] = &lanes[count];
    busy[count]->Begin(mark, chunks[next], &ids[next]);
  }
  while (count > 0) {
    Step({busy, count});
    for (size_t l = 0; l < count;) {
      if (!busy[l]->done()) {
        ++l;
        continue;
      }
      busy[l]->Finish();
      if (next < chunks.size()) {
        busy[l]->Begin(mark, chunks[next], &ids[next]);
        ++next;
        ++l;
      } else {
        std::swap(busy[l], busy[--count]);
      }
    }
  }
  return true;
}

}  // namespace editd

#else

namespace editd {

bool Sha256Marked(char, std::span<const std::string_view>, Id*) { return false; }

}  // namespace editd

#endif
