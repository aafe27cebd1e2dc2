#include "daemon/transfer.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "editd/v1/transfer.pb.h"
#include "spdlog/spdlog.h"
#include "storage/base/strings.h"

namespace editd::daemon {
namespace {

constexpr size_t kMaxPacket = 64 << 10;
constexpr size_t kMaxConnections = 64;

// One packet and the descriptors beside it; false at the connection's end.
bool Receive(int socket, std::string* packet, std::vector<UniqueFd>* fds, bool* whole) {
  packet->resize(kMaxPacket);
  struct iovec part = {packet->data(), packet->size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  struct msghdr head = {};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  head.msg_control = control;
  head.msg_controllen = sizeof(control);
  ssize_t received;
  do {
    received = ::recvmsg(socket, &head, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received <= 0) return false;
  packet->resize(static_cast<size_t>(received));
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&head); c != nullptr; c = CMSG_NXTHDR(&head, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      fds->emplace_back(fd);
    }
  }
  *whole = (head.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
  return true;
}

bool Send(int socket, const v1::TransferResponse& response, const UniqueFd& fd) {
  std::string packet = response.SerializeAsString();
  if (packet.empty())
    packet = std::string("\x08\x00", 2);  // code: 0, written out; an empty packet would read as the end.
  struct iovec part = {packet.data(), packet.size()};
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  struct msghdr head = {};
  head.msg_iov = &part;
  head.msg_iovlen = 1;
  if (fd.valid()) {
    head.msg_control = control;
    head.msg_controllen = sizeof(control);
    struct cmsghdr* rights = CMSG_FIRSTHDR(&head);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    std::memcpy(CMSG_DATA(rights), &number, sizeof(int));
  }
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &head, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

// A descriptor is taken only if reading it can neither block for ever nor change: a regular file, open for reading.
absl::Status CheckDescriptor(const std::vector<UniqueFd>& fds, const std::string& name) {
  if (fds.size() != 1)
    return absl::InvalidArgumentError(StrCat(name, ": one descriptor is needed, ", fds.size(), " came"));
  struct stat info;
  if (::fstat(fds[0].get(), &info) != 0) return ErrnoStatus(errno, name);
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(StrCat(name, ": only regular files can be stored"));
  if ((::fcntl(fds[0].get(), F_GETFL) & O_ACCMODE) == O_WRONLY) {
    return absl::InvalidArgumentError(StrCat(name, ": it is not open for reading"));
  }
  return absl::OkStatus();
}

absl::Status Answer(storage::Store* store, const v1::TransferRequest& request, const std::vector<UniqueFd>& fds,
                    v1::TransferResponse* response, UniqueFd* out) {
  switch (request.kind_case()) {
    case v1::TransferRequest::kPutAsset: {
      RETURN_IF_ERROR(CheckDescriptor(fds, request.put_asset().name()));
      ASSIGN_OR_RETURN(const storage::Store::Asset asset, store->PutAsset(fds[0].get(), request.put_asset().name()));
      response->set_asset(asset.id.Hex());
      response->set_size(asset.size);
      return absl::OkStatus();
    }
    case v1::TransferRequest::kGetAsset: {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(request.get_asset().id()));
      ASSIGN_OR_RETURN(*out, store->OpenAsset(id));
      ASSIGN_OR_RETURN(const uint64_t size, FileSize(out->get(), id.Hex()));
      response->set_asset(id.Hex());
      response->set_size(size);
      return absl::OkStatus();
    }
    case v1::TransferRequest::kGetPack: {
      ASSIGN_OR_RETURN(const Id id, Id::FromHex(request.get_pack().id()));
      ASSIGN_OR_RETURN(*out, store->OpenPack(id));
      ASSIGN_OR_RETURN(const uint64_t size, FileSize(out->get(), id.Hex()));
      response->set_size(size);
      return absl::OkStatus();
    }
    case v1::TransferRequest::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("a transfer request says put_asset, get_asset or get_pack");
}

}  // namespace

absl::Status TransferServer::Start() {
  return listener_.Start([this](UniqueFd socket) { Accept(std::move(socket)); });
}

void TransferServer::Accept(UniqueFd socket) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (auto it = connections_.begin(); it != connections_.end();) {
    if (it->done) {
      it->thread.join();
      it = connections_.erase(it);
    } else {
      ++it;
    }
  }
  if (connections_.size() >= kMaxConnections) {
    v1::TransferResponse response;
    response.set_code(static_cast<int>(absl::StatusCode::kResourceExhausted));
    response.set_message(StrCat("there are ", kMaxConnections, " transfer connections already; try again later"));
    Send(socket.get(), response, UniqueFd());
    return;
  }
  Connection& connection = connections_.emplace_back();
  connection.socket = std::move(socket);
  connection.thread = std::thread([this, &connection] {
    ::pthread_setname_np(::pthread_self(), "transfer");
    Serve(connection.socket.get());
    std::lock_guard<std::mutex> lock(mutex_);
    connection.socket.Reset();
    connection.done = true;
  });
}

void TransferServer::Serve(int socket) {
  std::string packet;
  for (;;) {
    std::vector<UniqueFd> fds;
    bool whole;
    if (!Receive(socket, &packet, &fds, &whole)) return;
    v1::TransferRequest request;
    v1::TransferResponse response;
    UniqueFd out;
    absl::Status status = absl::InvalidArgumentError("the packet is no TransferRequest of at most 64 KiB");
    if (whole && request.ParseFromString(packet)) status = Answer(store_, request, fds, &response, &out);
    if (!status.ok()) {
      response.Clear();
      out.Reset();
      response.set_code(static_cast<int>(status.code()));
      response.set_message(std::string(status.message()));
    }
    if (!Send(socket, response, out)) return;
  }
}

void TransferServer::Stop() {
  listener_.Stop();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Connection& connection : connections_) {
      if (connection.socket.valid()) ::shutdown(connection.socket.get(), SHUT_RDWR);
    }
  }
  for (Connection& connection : connections_) connection.thread.join();  // Nobody accepts any more.
  connections_.clear();
}

}  // namespace editd::daemon
