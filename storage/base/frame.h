// Frames over a stream socket of the unix domain: a little-endian uint32 length, that many bytes, and file descriptors
// beside them. What the bytes mean is the caller's matter (editd/v1/worker.proto, editd/v1/transfer.proto).
//
// Send may be called from any thread; a frame is never torn. Receive and TryReceive belong to one thread.
#ifndef EDITD_STORAGE_BASE_FRAME_H_
#define EDITD_STORAGE_BASE_FRAME_H_

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/status.h"

namespace editd {

inline constexpr uint32_t kMaxFrameBytes = 64u << 20;
inline constexpr size_t kMaxFrameDescriptors = 250;

struct Frame {
  std::string message;
  std::vector<UniqueFd> descriptors;  // Close-on-exec.
};

class FrameSocket {
 public:
  explicit FrameSocket(UniqueFd fd) : fd_(std::move(fd)) {}

  // Two connected sockets.
  static absl::StatusOr<std::pair<UniqueFd, UniqueFd>> Pair();

  // Sends one frame; blocks while the peer's buffer is full. Descriptors stay the caller's. Past kMaxFrameDescriptors
  // of them, the first ones go ahead beside frames that hold `carrier`, which may then not be empty. UNAVAILABLE if the
  // peer has closed, DEADLINE_EXCEEDED if it has not read for the time that SetSendTimeout gave.
  absl::Status Send(std::string_view message, std::span<const int> descriptors = {}, std::string_view carrier = {});

  // The next frame; blocks. UNAVAILABLE if the peer has closed between frames, DATA_LOSS if within one,
  // INVALID_ARGUMENT if what came cannot be a frame. After an error nothing more can be received.
  absl::StatusOr<Frame> Receive();
  // The same, but what has not come whole yet is nullopt, and the part that has is kept for the next call.
  absl::StatusOr<std::optional<Frame>> TryReceive();

  absl::Status SetSendTimeout(unsigned seconds);
  int fd() const { return fd_.get(); }
  // The peer sees the end of the stream; both directions.
  void Shutdown();

 private:
  absl::Status SendOne(std::string_view message, std::span<const int> descriptors);
  absl::StatusOr<size_t> ReceiveSome(char* data, size_t size);  // 0: would block.

  UniqueFd fd_;
  std::mutex send_;  // Held for the time of a frame.

  // The frame that is coming in.
  char header_[4];
  size_t header_bytes_ = 0;
  Frame frame_;
  size_t message_bytes_ = 0;  // Of frame_.message, which grows as bytes come.
};

}  // namespace editd

#endif  // EDITD_STORAGE_BASE_FRAME_H_
