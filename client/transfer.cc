#include "client/transfer.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "client/connection.h"
#include "storage/base/strings.h"

namespace editd::client {
namespace {

constexpr size_t kPacketLimit = 64 << 10;

}  // namespace

absl::Status SendPacket(int socket, std::string_view packet, int fd) {
  iovec bytes = {const_cast<char*>(packet.data()), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET) return absl::UnavailableError("the daemon closed the transfer socket");
    return ErrnoStatus(errno, "send on the transfer socket");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReceivePacket(int socket, UniqueFd* fd) {
  std::string packet(kPacketLimit, '\0');
  iovec bytes = {packet.data(), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t received;
  do {
    received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0 && errno == ECONNRESET) return absl::UnavailableError("the daemon closed the transfer socket");
  if (received < 0) return ErrnoStatus(errno, "receive on the transfer socket");
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int passed;
    std::memcpy(&passed, CMSG_DATA(header), sizeof(int));
    fd->Reset(passed);
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return absl::DataLossError("a packet on the transfer socket is larger than 64 KiB");
  }
  packet.resize(static_cast<size_t>(received));
  return packet;
}

absl::StatusOr<v1::TransferResponse> Transfer::Exchange(const v1::TransferRequest& request, int send_fd,
                                                        UniqueFd* received) {
  if (!fd_.valid()) {
    ASSIGN_OR_RETURN(const int fd, ConnectUnixSocket(socket_, SOCK_SEQPACKET));
    fd_.Reset(fd);
  }
  RETURN_IF_ERROR(SendPacket(fd_.get(), request.SerializeAsString(), send_fd));
  ASSIGN_OR_RETURN(const std::string packet, ReceivePacket(fd_.get(), received));
  // An answer of defaults only ("good, here is the descriptor") is an empty packet, too.
  if (packet.empty() && !received->valid()) return absl::UnavailableError("the daemon closed the transfer socket");
  v1::TransferResponse response;
  if (!response.ParseFromString(packet)) return absl::DataLossError("the transfer socket sent what is no answer");
  if (response.code() != 0) {
    return absl::Status(static_cast<absl::StatusCode>(response.code()), response.message());
  }
  return response;
}

absl::StatusOr<v1::FileEntry> Transfer::PutAsset(int fd, std::string_view name) {
  v1::TransferRequest request;
  request.mutable_put_asset()->set_name(std::string(name.substr(0, 4096)));
  UniqueFd unused;
  ASSIGN_OR_RETURN(const v1::TransferResponse response, Exchange(request, fd, &unused));
  v1::FileEntry entry;
  entry.set_asset(response.asset());
  entry.set_size(response.size());
  return entry;
}

absl::StatusOr<UniqueFd> Transfer::Get(const v1::TransferRequest& request, std::string_view what) {
  UniqueFd fd;
  RETURN_IF_ERROR(Exchange(request, -1, &fd).status());
  if (!fd.valid()) return absl::InternalError(StrCat("the daemon sent no descriptor of ", what));
  return fd;
}

absl::StatusOr<UniqueFd> Transfer::GetAsset(std::string_view id) {
  v1::TransferRequest request;
  request.mutable_get_asset()->set_id(std::string(id));
  return Get(request, StrCat("asset ", id));
}

absl::StatusOr<UniqueFd> Transfer::GetPack(std::string_view id) {
  v1::TransferRequest request;
  request.mutable_get_pack()->set_id(std::string(id));
  return Get(request, StrCat("pack ", id));
}

}  // namespace editd::client
