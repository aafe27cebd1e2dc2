// A message is cut into blocks of 64 bytes. Its first block holds the mark and 63 bytes of the chunk; the blocks of the
// middle are read where they lie; what is left, the padding and the length make one or two more. So a lane goes through
// three pieces of memory. All lanes step together by as many blocks as the shortest piece among them has; a lane whose
// message is done takes the next one.
#include "storage/base/sha256_lanes.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "storage/base/sha256_kernels.h"

namespace editd {
namespace {

// With fewer messages the SHA-256 instructions are faster than AVX-512 with most of its lanes idle.
constexpr size_t kWorthAvx512 = 7;

// The fractional parts of the square roots of the first eight primes (FIPS 180-4, 5.3.3).
constexpr uint32_t kInitial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// One message on its way, in a column of the states.
class Lane {
 public:
  void Begin(char mark, const Sha256Message& message) {
    message_ = message;
    const std::string_view chunk = message.chunk;
    std::memset(ends_, 0, sizeof(ends_));
    // The message is: first | middle | last, the first and last in ends_.
    ends_[0] = mark;
    const size_t in_first = std::min(chunk.size(), kSha256Block - 1);
    if (in_first > 0) std::memcpy(ends_ + 1, chunk.data(), in_first);
    const size_t length = chunk.size() + 1;
    const bool has_first = length >= kSha256Block;  // Else all of the message is in the last piece.
    const std::string_view rest = has_first ? chunk.substr(kSha256Block - 1) : std::string_view();
    char* const last = has_first ? ends_ + kSha256Block : ends_;
    const size_t in_last = has_first ? rest.size() % kSha256Block : length;
    const size_t last_blocks = in_last + 9 <= kSha256Block ? 1 : 2;
    if (has_first && in_last > 0) std::memcpy(last, rest.data() + rest.size() - in_last, in_last);
    last[in_last] = static_cast<char>(0x80);
    const uint64_t bits = __builtin_bswap64(uint64_t{8} * length);
    std::memcpy(last + last_blocks * kSha256Block - 8, &bits, 8);
    pieces_[0] = {ends_, has_first ? 1u : 0u};
    pieces_[1] = {rest.data(), rest.size() / kSha256Block};
    pieces_[2] = {last, last_blocks};
    piece_ = 0;
    SkipEmpty();
  }
  bool done() const { return piece_ == 3; }
  const char* data() const { return pieces_[piece_].data; }
  size_t blocks() const { return pieces_[piece_].blocks; }
  Sha256Message& message() { return message_; }

  void Advance(size_t blocks) {
    pieces_[piece_].data += blocks * kSha256Block;
    pieces_[piece_].blocks -= blocks;
    SkipEmpty();
  }

 private:
  struct Piece {
    const char* data;
    size_t blocks;
  };
  void SkipEmpty() {
    while (piece_ < 3 && pieces_[piece_].blocks == 0) ++piece_;
  }

  Sha256Message message_;
  Piece pieces_[3] = {};
  size_t piece_ = 3;
  char ends_[3 * kSha256Block];
};

class Lanes {
 public:
  // Puts a message into an idle lane.
  void Begin(char mark, const Sha256Message& message) {
    const size_t lane = order_[busy_++];
    lanes_[lane].Begin(mark, message);
    for (size_t k = 0; k < 8; ++k) states_.words[k][lane] = kInitial[k];
  }
  size_t busy() const { return busy_; }

  // The lanes go on, as far as the one with the shortest piece.
  void Step() {
    const bool wide = HasAvx512() && (busy_ >= kWorthAvx512 || !HasShaInstructions());
    const std::span<const size_t> moving(order_, wide ? busy_ : std::min(busy_, kShaInstructions));
    size_t blocks = lanes_[moving[0]].blocks();
    for (const size_t lane : moving) blocks = std::min(blocks, lanes_[lane].blocks());
    const char* data[kMaxSha256Lanes];
    if (wide) {
      std::fill(data, data + kMaxSha256Lanes, lanes_[moving[0]].data());  // What idle lanes make counts for nothing.
      for (const size_t lane : moving) data[lane] = lanes_[lane].data();
      CompressByAvx512(&states_, data, blocks);
    } else {
      for (size_t i = 0; i < moving.size(); ++i) data[i] = lanes_[moving[i]].data();
      CompressByInstructions(&states_, moving.data(), data, moving.size(), blocks);
    }
    for (const size_t lane : moving) lanes_[lane].Advance(blocks);
  }

  // Takes a message that is done, with its id; null if there is none. It stays until the next Begin.
  Sha256Message* TakeDone() {
    for (size_t i = 0; i < busy_; ++i) {
      const size_t lane = order_[i];
      if (!lanes_[lane].done()) continue;
      Sha256Message& message = lanes_[lane].message();
      for (size_t k = 0; k < 8; ++k) {
        const uint32_t word = __builtin_bswap32(states_.words[k][lane]);
        std::memcpy(message.id.bytes.data() + 4 * k, &word, 4);
      }
      std::swap(order_[i], order_[--busy_]);
      return &message;
    }
    return nullptr;
  }

 private:
  Sha256States states_ = {};
  Lane lanes_[kMaxSha256Lanes];
  size_t order_[kMaxSha256Lanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};  // The busy lanes first.
  size_t busy_ = 0;
};

}  // namespace

size_t Sha256Lanes() { return HasAvx512() ? kMaxSha256Lanes : HasShaInstructions() ? kShaInstructions : 1; }

bool HashSideBySide(char mark, const std::function<bool(Sha256Message*)>& next,
                    const std::function<void(const Sha256Message&)>& done) {
  if (Sha256Lanes() == 1) return false;
  Lanes lanes;
  Sha256Message message;
  for (;;) {
    while (lanes.busy() < Sha256Lanes() && next(&message)) lanes.Begin(mark, message);
    if (lanes.busy() == 0) return true;
    lanes.Step();
    while (const Sha256Message* finished = lanes.TakeDone()) done(*finished);
  }
}

}  // namespace editd
