// A stream socket hands over descriptors with the bytes that they were sent beside, and one recvmsg may return the end
// of one frame and the beginning of the next. So we never read past the frame that is coming in: first its length, then
// its bytes. Then each descriptor that comes belongs to that frame.
#include "storage/base/frame.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "storage/base/strings.h"

namespace editd {
namespace {

// A length is only believed as far as bytes come.
constexpr size_t kGrowth = 1 << 20;

uint32_t LengthOf(const char header[4]) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(header);
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

}  // namespace

absl::StatusOr<std::pair<UniqueFd, UniqueFd>> FrameSocket::Pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return ErrnoStatus(errno, "socketpair");
  return std::make_pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

absl::Status FrameSocket::SetSendTimeout(unsigned seconds) {
  const struct timeval timeout = {static_cast<time_t>(seconds), 0};
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) != 0) {
    return ErrnoStatus(errno, "setsockopt(SO_SNDTIMEO)");
  }
  return absl::OkStatus();
}

void FrameSocket::Shutdown() { ::shutdown(fd_.get(), SHUT_RDWR); }

absl::Status FrameSocket::Send(std::string_view message, std::span<const int> descriptors, std::string_view carrier) {
  if (descriptors.size() > kMaxFrameDescriptors && carrier.empty()) {
    return absl::InvalidArgumentError(
        StrCat("a frame carries at most ", kMaxFrameDescriptors, " descriptors, not ", descriptors.size()));
  }
  std::lock_guard<std::mutex> lock(send_);
  while (descriptors.size() > kMaxFrameDescriptors) {
    RETURN_IF_ERROR(SendOne(carrier, descriptors.first(kMaxFrameDescriptors)));
    descriptors = descriptors.subspan(kMaxFrameDescriptors);
  }
  return SendOne(message, descriptors);
}

absl::Status FrameSocket::SendOne(std::string_view message, std::span<const int> descriptors) {
  if (message.size() > kMaxFrameBytes) {
    return absl::InvalidArgumentError(
        StrCat("a frame has at most ", kMaxFrameBytes, " bytes, this one ", message.size()));
  }
  const uint32_t length = static_cast<uint32_t>(message.size());
  char header[4] = {static_cast<char>(length), static_cast<char>(length >> 8), static_cast<char>(length >> 16),
                    static_cast<char>(length >> 24)};
  struct iovec parts[2] = {{header, sizeof(header)}, {const_cast<char*>(message.data()), message.size()}};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFrameDescriptors)] = {};
  struct msghdr head = {};
  head.msg_iov = parts;
  head.msg_iovlen = 2;
  if (!descriptors.empty()) {
    head.msg_control = control;
    head.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    struct cmsghdr* rights = CMSG_FIRSTHDR(&head);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  while (head.msg_iovlen > 0) {
    const ssize_t sent = ::sendmsg(fd_.get(), &head, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) return absl::UnavailableError("the peer has closed");
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return absl::DeadlineExceededError("the peer does not read its frames");
    }
    if (sent < 0) return ErrnoStatus(errno, "sendmsg");
    head.msg_control = nullptr;  // Went with the first byte.
    head.msg_controllen = 0;
    size_t left = static_cast<size_t>(sent);
    while (head.msg_iovlen > 0 && left >= head.msg_iov->iov_len) {
      left -= head.msg_iov->iov_len;
      ++head.msg_iov;
      --head.msg_iovlen;
    }
    if (head.msg_iovlen > 0) {
      head.msg_iov->iov_base = static_cast<char*>(head.msg_iov->iov_base) + left;
      head.msg_iov->iov_len -= left;
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<size_t> FrameSocket::ReceiveSome(char* data, size_t size) {
  struct iovec part = {data, size};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxFrameDescriptors)];
  struct msghdr head = {};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  head.msg_control = control;
  head.msg_controllen = sizeof(control);
  ssize_t received;
  do {
    received = ::recvmsg(fd_.get(), &head, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return 0;
  if (received < 0 && errno != ECONNRESET) return ErrnoStatus(errno, "recvmsg");
  if (received <= 0) {
    if (header_bytes_ == 0) return absl::UnavailableError("the peer has closed");
    return absl::DataLossError("the peer has closed in the middle of a frame");
  }
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&head); c != nullptr; c = CMSG_NXTHDR(&head, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      frame_.descriptors.emplace_back(fd);
    }
  }
  if (head.msg_flags & MSG_CTRUNC) {
    return absl::ResourceExhaustedError("descriptors of a frame were lost; the limit of open files is too low");
  }
  if (frame_.descriptors.size() > kMaxFrameDescriptors) {
    return absl::InvalidArgumentError(StrCat("a frame carries more than ", kMaxFrameDescriptors, " descriptors"));
  }
  return static_cast<size_t>(received);
}

absl::StatusOr<std::optional<Frame>> FrameSocket::TryReceive() {
  while (header_bytes_ < sizeof(header_)) {
    ASSIGN_OR_RETURN(const size_t got, ReceiveSome(header_ + header_bytes_, sizeof(header_) - header_bytes_));
    if (got == 0) return std::nullopt;
    header_bytes_ += got;
  }
  const uint32_t length = LengthOf(header_);
  if (length > kMaxFrameBytes) {
    return absl::InvalidArgumentError(
        StrCat("a frame of ", length, " bytes was announced; ", kMaxFrameBytes, " is most"));
  }
  while (message_bytes_ < length) {
    if (frame_.message.size() == message_bytes_) {
      frame_.message.resize(std::min<size_t>(length, std::max(2 * message_bytes_, kGrowth)));
    }
    ASSIGN_OR_RETURN(const size_t got,
                     ReceiveSome(frame_.message.data() + message_bytes_, frame_.message.size() - message_bytes_));
    if (got == 0) return std::nullopt;
    message_bytes_ += got;
  }
  header_bytes_ = 0;
  message_bytes_ = 0;
  return std::exchange(frame_, Frame());
}

absl::StatusOr<Frame> FrameSocket::Receive() {
  for (;;) {
    ASSIGN_OR_RETURN(std::optional<Frame> frame, TryReceive());
    if (frame.has_value()) return *std::move(frame);
    struct pollfd wait = {fd_.get(), POLLIN, 0};
    if (::poll(&wait, 1, -1) < 0 && errno != EINTR) return ErrnoStatus(errno, "poll");
  }
}

}  // namespace editd
