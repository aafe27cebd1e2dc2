#include "storage/base/tree_hash.h"

#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <thread>

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

Id RootOf(const ContentKind& kind, uint64_t size, std::span<const Id> leaves) {
  std::string head(kRootMark);
  head.append(kind.prefix());
  AppendLittleEndian(size, &head);
  Sha256 hash;
  hash.Update(head);
  for (const Id& leaf : leaves) hash.Update(leaf.view());
  return hash.Finish();
}

Id HashContent(const ContentKind& kind, std::string_view content, unsigned threads) {
  std::vector<Id> leaves((content.size() + kChunkBytes - 1) / kChunkBytes);
  std::atomic<size_t> next = 0;
  const auto hash_some = [&] {
    for (size_t i = next++; i < leaves.size(); i = next++) {
      leaves[i] = LeafOf(content.substr(i * kChunkBytes, kChunkBytes));
    }
  };
  std::vector<std::jthread> others;
  const size_t wanted = std::min<size_t>(threads, leaves.size());
  for (size_t i = 1; i < wanted; ++i) others.emplace_back(hash_some);
  hash_some();
  others.clear();
  return RootOf(kind, content.size(), leaves);
}

absl::StatusOr<Id> HashFile(const ContentKind& kind, int fd, uint64_t offset, uint64_t size, unsigned threads,
                            std::string_view name) {
  std::vector<Id> leaves((size + kChunkBytes - 1) / kChunkBytes);
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  absl::Status error;
  const auto hash_one = [&](size_t leaf, std::string* chunk) -> absl::Status {
    const uint64_t begin = leaf * uint64_t{kChunkBytes};
    chunk->resize(std::min<uint64_t>(kChunkBytes, size - begin));
    for (size_t done = 0; done < chunk->size();) {
      const off_t at = static_cast<off_t>(offset + begin + done);
      const ssize_t n = ::pread(fd, chunk->data() + done, chunk->size() - done, at);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoStatus(errno, StrCat("read ", name));
      if (n == 0) return absl::OutOfRangeError(StrCat(name, ": ends at ", at, ", not at ", offset + size));
      done += static_cast<size_t>(n);
    }
    leaves[leaf] = LeafOf(*chunk);
    return absl::OkStatus();
  };
  const auto hash_some = [&] {
    std::string chunk;
    for (size_t i = next++; i < leaves.size(); i = next++) {
      const absl::Status status = hash_one(i, &chunk);
      if (status.ok()) continue;
      std::lock_guard lock(mutex);
      if (error.ok()) error = status;
      next = leaves.size();
    }
  };
  std::vector<std::jthread> others;
  const size_t wanted = std::min<size_t>(threads, leaves.size());
  for (size_t i = 1; i < wanted; ++i) others.emplace_back(hash_some);
  hash_some();
  others.clear();
  RETURN_IF_ERROR(error);
  return RootOf(kind, size, leaves);
}

void ContentHasher::Update(std::string_view bytes) {
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (in_chunk_ == 0) chunk_.Update(kLeafMark);
    const std::string_view part = bytes.substr(0, kChunkBytes - in_chunk_);
    chunk_.Update(part);
    in_chunk_ += part.size();
    bytes.remove_prefix(part.size());
    if (in_chunk_ < kChunkBytes) continue;
    leaves_.push_back(chunk_.Finish());
    in_chunk_ = 0;
  }
}

Id ContentHasher::Finish() {
  if (in_chunk_ > 0) leaves_.push_back(chunk_.Finish());
  return RootOf(kind_, size_, leaves_);
}

}  // namespace editd
