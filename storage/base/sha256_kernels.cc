// With the SHA-256 instructions a state is kept as they want it: words ABEF in one register, CDGH in the other.
// sha256rnds2 does two rounds; its result depends on the one before it, and takes four cycles. With four messages, four
// are under way.
//
// With AVX-512 a register holds the same word of sixteen messages, so a block of each is turned over first (rows into
// columns). A rotation is one instruction, and so is any function of three words (ternarylogic's last argument is its
// truth table: 0x96 is exclusive or, 0xca choice, 0xe8 majority).
#include "storage/base/sha256_kernels.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

namespace editd {
namespace {

#define EDITD_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define EDITD_AVX512 __attribute__((target("avx512f,avx512bw")))

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

template <size_t kLanes>
EDITD_SHA void Compress(State* states, const char* const* data, size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const char* at[kLanes];
  State sums[kLanes];
  for (size_t l = 0; l < kLanes; ++l) {
    at[l] = data[l];
    sums[l] = states[l];
  }
  for (; blocks > 0; --blocks) {
    __m128i words[kLanes][4];
    State now[kLanes];
    for (size_t l = 0; l < kLanes; ++l) {
      now[l] = sums[l];
      for (int i = 0; i < 4; ++i) {
        words[l][i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at[l] + 16 * i)), big_endian);
      }
      at[l] += kSha256Block;
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
  for (size_t l = 0; l < kLanes; ++l) states[l] = sums[l];
}

using Words = __m512i[16];

// rows[i] has word j of message i in lane j; afterwards word i of message j.
EDITD_AVX512 inline __attribute__((always_inline)) void Transpose(Words rows) {
  Words t;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // rows[4 i + k]: word k of each quarter, of messages 4 i to 4 i + 3.
    rows[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    rows[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    rows[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) {  // Quarters 0 and 2 (0x88), 1 and 3 (0xdd), of eight messages and then of sixteen.
    const __m512i even_low = _mm512_shuffle_i32x4(rows[k], rows[4 + k], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(rows[k], rows[4 + k], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(rows[8 + k], rows[12 + k], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(rows[8 + k], rows[12 + k], 0xdd);
    rows[k] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    rows[4 + k] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    rows[8 + k] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    rows[12 + k] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
}

EDITD_AVX512 inline __attribute__((always_inline)) __m512i Xor3(__m512i a, __m512i b, __m512i c) {
  return _mm512_ternarylogic_epi32(a, b, c, 0x96);
}

// The word that round i + 16 takes, in place of the one of round i.
EDITD_AVX512 inline __attribute__((always_inline)) void Schedule(Words w, int i) {
  const __m512i x = w[(i + 1) % 16], y = w[(i + 14) % 16];
  const __m512i sigma0 = Xor3(_mm512_ror_epi32(x, 7), _mm512_ror_epi32(x, 18), _mm512_srli_epi32(x, 3));
  const __m512i sigma1 = Xor3(_mm512_ror_epi32(y, 17), _mm512_ror_epi32(y, 19), _mm512_srli_epi32(y, 10));
  w[i % 16] = _mm512_add_epi32(_mm512_add_epi32(w[i % 16], w[(i + 9) % 16]), _mm512_add_epi32(sigma0, sigma1));
}

// s[(k - round) % 8] is the state's word k: instead of the words, their names move on.
EDITD_AVX512 inline __attribute__((always_inline)) void Round(__m512i s[8], __m512i word, int round) {
  __m512i& a = s[(8 - round) % 8];
  const __m512i b = s[(9 - round) % 8], c = s[(10 - round) % 8];
  __m512i& d = s[(11 - round) % 8];
  const __m512i e = s[(12 - round) % 8], f = s[(13 - round) % 8], g = s[(14 - round) % 8];
  __m512i& h = s[(15 - round) % 8];
  const __m512i big1 = Xor3(_mm512_ror_epi32(e, 6), _mm512_ror_epi32(e, 11), _mm512_ror_epi32(e, 25));
  const __m512i t1 =
      _mm512_add_epi32(_mm512_add_epi32(h, word), _mm512_add_epi32(big1, _mm512_ternarylogic_epi32(e, f, g, 0xca)));
  const __m512i big0 = Xor3(_mm512_ror_epi32(a, 2), _mm512_ror_epi32(a, 13), _mm512_ror_epi32(a, 22));
  const __m512i t2 = _mm512_add_epi32(big0, _mm512_ternarylogic_epi32(a, b, c, 0xe8));
  d = _mm512_add_epi32(d, t1);
  h = _mm512_add_epi32(t1, t2);
}

EDITD_AVX512 inline __attribute__((always_inline)) void EightRounds(__m512i s[8], const __m512i* words,
                                                                    const uint32_t* constants) {
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i)
    Round(s, _mm512_add_epi32(words[i], _mm512_set1_epi32(static_cast<int>(constants[i]))), i);
}

}  // namespace

bool HasShaInstructions() {
  static const bool has = __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3") && [] {
    unsigned a = 0, b = 0, c = 0, d = 0;  // gcc 12 has no name for it.
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & bit_SHA) != 0;
  }();
  return has;
}

bool HasAvx512() {
  static const bool has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  return has;
}

EDITD_SHA void CompressByInstructions(Sha256States* states, const size_t* lanes, const char* const* data, size_t count,
                                      size_t blocks) {
  State packed[kShaInstructions];
  for (size_t i = 0; i < count; ++i) {
    const auto word = [&](int k) { return static_cast<int>(states->words[k][lanes[i]]); };
    packed[i].abef = _mm_set_epi32(word(0), word(1), word(4), word(5));
    packed[i].cdgh = _mm_set_epi32(word(2), word(3), word(6), word(7));
  }
  switch (count) {
    case 1:
      Compress<1>(packed, data, blocks);
      break;
    case 2:
      Compress<2>(packed, data, blocks);
      break;
    case 3:
      Compress<3>(packed, data, blocks);
      break;
    default:
      Compress<4>(packed, data, blocks);
  }
  for (size_t i = 0; i < count; ++i) {
    alignas(16) uint32_t feba[4], hgdc[4];
    _mm_store_si128(reinterpret_cast<__m128i*>(feba), packed[i].abef);
    _mm_store_si128(reinterpret_cast<__m128i*>(hgdc), packed[i].cdgh);
    const uint32_t words[8] = {feba[3], feba[2], hgdc[3], hgdc[2], feba[1], feba[0], hgdc[1], hgdc[0]};
    for (int k = 0; k < 8; ++k) states->words[k][lanes[i]] = words[k];
  }
}

EDITD_AVX512 void CompressByAvx512(Sha256States* states, const char* const* data, size_t blocks) {
  const __m512i big_endian = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
  const char* at[16];
  for (int l = 0; l < 16; ++l) at[l] = data[l];
  __m512i sums[8];
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) sums[k] = _mm512_load_si512(states->words[k]);
  for (; blocks > 0; --blocks) {
    Words w;
#pragma GCC unroll 16
    for (int l = 0; l < 16; ++l) {
      w[l] = _mm512_shuffle_epi8(_mm512_loadu_si512(at[l]), big_endian);
      at[l] += kSha256Block;
    }
    Transpose(w);
    __m512i now[8];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) now[k] = sums[k];
    EightRounds(now, w, kRounds);
    EightRounds(now, w + 8, kRounds + 8);
#pragma GCC unroll 1  // So that the body fits into the cache of decoded instructions.
    for (int first = 16; first < 64; first += 16) {
#pragma GCC unroll 2
      for (int half = 0; half < 16; half += 8) {
#pragma GCC unroll 8
        for (int i = half; i < half + 8; ++i) Schedule(w, i);
        EightRounds(now, w + half, kRounds + first + half);
      }
    }
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) sums[k] = _mm512_add_epi32(sums[k], now[k]);
  }
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) _mm512_store_si512(states->words[k], sums[k]);
}

}  // namespace editd

#else

namespace editd {

bool HasShaInstructions() { return false; }
bool HasAvx512() { return false; }
void CompressByInstructions(Sha256States*, const size_t*, const char* const*, size_t, size_t) {}
void CompressByAvx512(Sha256States*, const char* const*, size_t) {}

}  // namespace editd

#endif
