// SHA-256 of several messages at once, on one core.
//
// One message cannot keep a core busy: each round waits for the one before. Several messages side by side can. Two
// kernels do it: the processor's SHA-256 instructions on up to four messages, and, where there is AVX-512, sixteen
// messages in the sixteen lanes of a register (sha256_kernels.h). The leaves of a content tree are such messages.
//
// Thread-safe.
#ifndef EDITD_STORAGE_BASE_SHA256_LANES_H_
#define EDITD_STORAGE_BASE_SHA256_LANES_H_

#include <cstddef>
#include <functional>
#include <string_view>

#include "storage/base/id.h"

namespace editd {

// The most messages that gain from being hashed together by any processor.
inline constexpr size_t kMaxSha256Lanes = 16;
// The same for this processor; 1 if it can only do one after the other.
size_t Sha256Lanes();

// SHA-256(mark, chunk).
struct Sha256Message {
  std::string_view chunk;
  void* owner = nullptr;  // The caller's.
  Id id;                  // The result.
};

// Hashes what `next` gives until it gives no more and all is hashed. As soon as a message is done it is given to
// `done`, in any order, and `next` is asked again; both run in the caller's thread while other messages wait. After
// `next` has returned false, it is asked again when a message is done. Messages may be of any size; those of about the
// same gain. False, and nothing asked, if Sha256Lanes() is 1.
bool HashSideBySide(char mark, const std::function<bool(Sha256Message*)>& next,
                    const std::function<void(const Sha256Message&)>& done);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_SHA256_LANES_H_
