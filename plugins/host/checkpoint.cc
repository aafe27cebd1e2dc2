#include "plugins/host/checkpoint.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "editd/plugin.h"
#include "storage/base/strings.h"
#include "storage/base/tree_hash.h"

namespace editd::host {
namespace {

constexpr std::string_view kMagic = "editd checkpoint 1\n";
constexpr char kName[] = "checkpoint";
constexpr char kNew[] = "checkpoint.new";
constexpr size_t kHeader = kMagic.size() + 32 + 8 + 32;

std::string LittleEndian(uint64_t value) {
  std::string bytes(8, '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

std::string Header(std::string_view content, const Id& owner) {
  return StrCat(kMagic, owner.view(), LittleEndian(content.size()), Sha256::Of(content).view());
}

}  // namespace

Id Checkpoint::Owner(uint64_t job, std::string_view recipe, std::string_view plugin_hash) {
  return Sha256::Of(StrCat(LittleEndian(job), recipe, "\n", plugin_hash));
}

absl::StatusOr<std::string_view> ParseCheckpoint(std::string_view file, const Id& owner) {
  if (file.size() < kHeader || !file.starts_with(kMagic)) return absl::DataLossError("it is damaged");
  const std::string_view content = file.substr(kHeader);
  if (file.substr(kMagic.size(), 32) != owner.view()) {
    return absl::FailedPreconditionError("it is another job's, or of another build of the plugin");
  }
  if (file.substr(0, kHeader) != Header(content, owner)) return absl::DataLossError("it is damaged");
  return content;
}

absl::Status Checkpoint::Save(std::string_view bytes) {
  if (bytes.size() > EDIT_CHECKPOINT_BYTES) {
    return absl::ResourceExhaustedError(
        StrCat("a checkpoint of ", bytes.size(), " bytes; at most ", EDIT_CHECKPOINT_BYTES, " are kept"));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  const absl::Status written = [&]() -> absl::Status {
    UniqueFd fd(::openat(staging_.get(), kNew, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid()) return ErrnoStatus(errno, "create the checkpoint");
    RETURN_IF_ERROR(WriteAll(fd.get(), Header(bytes, owner_), "the checkpoint"));
    RETURN_IF_ERROR(WriteAll(fd.get(), bytes, "the checkpoint"));
    if (::renameat(staging_.get(), kNew, staging_.get(), kName) != 0)
      return ErrnoStatus(errno, "rename the checkpoint");
    return absl::OkStatus();
  }();
  if (!written.ok()) ::unlinkat(staging_.get(), kNew, 0);
  return written;
}

absl::StatusOr<std::string_view> Checkpoint::Load() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!loaded_.has_value()) {
    loaded_.emplace();
    load_status_ = [&]() -> absl::Status {
      if (!last_.valid()) return absl::OkStatus();
      ASSIGN_OR_RETURN(const uint64_t size, FileSize(last_.get(), "the checkpoint"));
      if (size > kHeader + EDIT_CHECKPOINT_BYTES) return absl::DataLossError("it is damaged");
      loaded_->resize(size);
      for (size_t done = 0; done < size;) {
        const ssize_t n = ::pread(last_.get(), loaded_->data() + done, size - done, static_cast<off_t>(done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return ErrnoStatus(errno, "read the checkpoint");
        if (n == 0) return absl::DataLossError("it is damaged");
        done += static_cast<size_t>(n);
      }
      ASSIGN_OR_RETURN(content_, ParseCheckpoint(*loaded_, owner_));
      return absl::OkStatus();
    }();
    last_.Reset();
  }
  RETURN_IF_ERROR(load_status_);
  return content_;
}

}  // namespace editd::host
