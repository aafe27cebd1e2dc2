// Content ids: a SHA-256 tree of two levels, so that one tensor can be hashed by many threads, and while it is written.
//
// The content is cut into chunks of 1 MiB. A leaf is SHA-256(0x00, chunk). The id is SHA-256(0x01, kind, leaves):
// `kind` tells tensors from assets and carries a tensor's element type and shape, so that equal bytes of another shape
// get another id. storage/FORMAT.md has the layout byte by byte and test vectors.
//
// Functions are thread-safe; a Sha256 belongs to one thread at a time.
#ifndef EDITD_STORAGE_BASE_TREE_HASH_H_
#define EDITD_STORAGE_BASE_TREE_HASH_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/dtype.h"
#include "storage/base/id.h"
#include "storage/base/sha256_lanes.h"

namespace editd {

inline constexpr size_t kChunkBytes = 1 << 20;

// Plain SHA-256 of bytes in pieces. SHA-NI where the processor has it.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // The digest; the object then starts afresh.
  Id Finish();

  static Id Of(std::string_view bytes);

 private:
  void* context_;  // EVP_MD_CTX
};

// What is hashed before a content's leaves.
class ContentKind {
 public:
  static ContentKind Asset();
  static ContentKind Tensor(DType dtype, std::span<const int64_t> shape);
  const std::string& prefix() const { return prefix_; }

 private:
  std::string prefix_;
};

// The leaf of one chunk: at most kChunkBytes, fewer only in a content's last chunk.
Id LeafOf(std::string_view chunk);
// The leaves of the chunks that `next` gives, each told to `done`: HashSideBySide (sha256_lanes.h), or one by one where
// the processor can do no better. Best with Sha256Lanes() chunks at once.
void HashLeaves(const std::function<bool(Sha256Message*)>& next, const std::function<void(const Sha256Message&)>& done);
// The content's id from its size and its leaves in order. Empty content has no leaf.
Id RootOf(const ContentKind& kind, uint64_t size, std::span<const Id> leaves);

// The id of a content in memory (or mapped). `threads` counts the caller.
Id HashContent(const ContentKind& kind, std::string_view content, unsigned threads = 1);

// The id of `size` bytes of a file from `offset` on, read piece by piece, so that a failing disk is an error and no
// signal. OUT_OF_RANGE if the file is shorter. `name` is for messages. Each piece that was hashed is given to `also`,
// in any order and from any of the threads; an error of it ends all.
using PieceFunction = std::function<absl::Status(uint64_t begin, std::string_view bytes)>;
absl::StatusOr<Id> HashFile(const ContentKind& kind, int fd, uint64_t offset, uint64_t size, unsigned threads,
                            std::string_view name, const PieceFunction& also = nullptr);

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_TREE_HASH_H_
