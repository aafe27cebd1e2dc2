#include "storage/base/tree_hash.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <thread>

#include "storage/base/sha256_lanes.h"
#include "storage/base/strings.h"

namespace editd {
namespace {

constexpr std::string_view kLeafMark("\0", 1);
constexpr std::string_view kRootMark("\1", 1);

// Fetched once: looking it up costs more than hashing a small tensor.
const EVP_MD* Algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return algorithm;
}

void Check(int result) {
  if (result != 1) std::abort();  // Only without memory or without SHA-256 in OpenSSL.
}

void AppendLittleEndian(uint64_t value, std::string* out) {
  for (int i = 0; i < 8; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  Check(EVP_DigestInit_ex2(static_cast<EVP_MD_CTX*>(context_), Algorithm(), nullptr));
}

Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }

void Sha256::Update(std::string_view bytes) {
  Check(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size()));
}

Id Sha256::Finish() {
  Id id;
  Check(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), id.bytes.data(), nullptr));
  Check(EVP_DigestInit_ex2(static_cast<EVP_MD_CTX*>(context_), Algorithm(), nullptr));
  return id;
}

Id Sha256::Of(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

ContentKind ContentKind::Asset() {
  ContentKind kind;
  kind.prefix_ = "A";
  return kind;
}

ContentKind ContentKind::Tensor(DType dtype, std::span<const int64_t> shape) {
  ContentKind kind;
  const std::string_view name = DTypeName(dtype);
  kind.prefix_ = "T";
  kind.prefix_.push_back(static_cast<char>(name.size()));
  kind.prefix_.append(name);
  AppendLittleEndian(shape.size(), &kind.prefix_);
  for (int64_t extent : shape) AppendLittleEndian(static_cast<uint64_t>(extent), &kind.prefix_);
  return kind;
}

Id LeafOf(std::string_view chunk) {
  thread_local Sha256 hash;
  hash.Update(kLeafMark);
  hash.Update(chunk);
  return hash.Finish();
}

void HashLeaves(const std::function<bool(Sha256Message*)>& next,
                const std::function<void(const Sha256Message&)>& done) {
  if (HashSideBySide(kLeafMark[0], next, done)) return;
  Sha256Message message;
  while (next(&message)) {
    message.id = LeafOf(message.chunk);
    done(message);
  }
}

Id RootOf(const ContentKind& kind, uint64_t size, std::span<const Id> leaves) {
  std::string head(kRootMark);
  head.append(kind.prefix());
  AppendLittleEndian(size, &head);
  Sha256 hash;
  hash.Update(head);
  for (const Id& leaf : leaves) hash.Update(leaf.view());
  return hash.Finish();
}

namespace {

// Calls `work` for ranges of leaves, a group at a time, from `threads` threads of which the caller is one. `buffer` is
// the thread's own.
void ForEachGroup(size_t leaves, unsigned threads,
                  const std::function<void(size_t begin, size_t end, std::string* buffer)>& work) {
  const size_t share = (leaves + std::max(threads, 1u) - 1) / std::max(threads, 1u);
  const size_t group = std::clamp<size_t>(share, 1, Sha256Lanes());
  std::atomic<size_t> next = 0;
  const auto some = [&] {
    std::string buffer;
    for (;;) {
      const size_t begin = next.fetch_add(group);
      if (begin >= leaves) return;
      work(begin, std::min(leaves, begin + group), &buffer);
    }
  };
  std::vector<std::jthread> others;
  const size_t groups = (leaves + group - 1) / group;
  for (size_t i = 1; i < std::min<size_t>(threads, groups); ++i) others.emplace_back(some);
  some();
}

void HashGroup(std::string_view group, Id* leaves) {
  HashLeaves(
      [&](Sha256Message* message) {
        if (group.empty()) return false;
        *message = {group.substr(0, kChunkBytes), leaves++, {}};
        group.remove_prefix(message->chunk.size());
        return true;
      },
      [](const Sha256Message& message) { *static_cast<Id*>(message.owner) = message.id; });
}

absl::Status ReadAt(int fd, uint64_t offset, size_t size, char* out, std::string_view name) {
  for (size_t done = 0; done < size;) {
    const off_t at = static_cast<off_t>(offset + done);
    const ssize_t n = ::pread(fd, out + done, size - done, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus(errno, StrCat("read ", name));
    if (n == 0) return absl::OutOfRangeError(StrCat(name, ": ends at ", at, ", not at ", offset + size));
    done += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

Id HashContent(const ContentKind& kind, std::string_view content, unsigned threads) {
  std::vector<Id> leaves((content.size() + kChunkBytes - 1) / kChunkBytes);
  ForEachGroup(leaves.size(), threads, [&](size_t begin, size_t end, std::string*) {
    HashGroup(content.substr(begin * kChunkBytes, (end - begin) * kChunkBytes), &leaves[begin]);
  });
  return RootOf(kind, content.size(), leaves);
}

absl::StatusOr<Id> HashFile(const ContentKind& kind, int fd, uint64_t offset, uint64_t size, unsigned threads,
                            std::string_view name, const PieceFunction& also) {
  std::vector<Id> leaves((size + kChunkBytes - 1) / kChunkBytes);
  std::mutex mutex;
  absl::Status error;
  ForEachGroup(leaves.size(), threads, [&](size_t begin, size_t end, std::string* buffer) {
    {
      std::lock_guard lock(mutex);
      if (!error.ok()) return;
    }
    const uint64_t from = begin * uint64_t{kChunkBytes};
    buffer->resize(std::min<uint64_t>(size - from, (end - begin) * kChunkBytes));
    absl::Status status = ReadAt(fd, offset + from, buffer->size(), buffer->data(), name);
    if (status.ok()) HashGroup(*buffer, &leaves[begin]);
    if (status.ok() && also) status = also(from, *buffer);
    std::lock_guard lock(mutex);
    if (error.ok()) error = status;
  });
  RETURN_IF_ERROR(error);
  return RootOf(kind, size, leaves);
}

}  // namespace editd
