// Transfer: files cross between client and daemon as descriptors (proto/editd/v1/transfer.proto). The client opens what
// a spec names with its own rights; the daemon takes the content over and answers with its id.
//
// Thread-compatible.
#ifndef EDITD_CLIENT_TRANSFER_H_
#define EDITD_CLIENT_TRANSFER_H_

#include <string>
#include <string_view>

#include "editd/v1/job.pb.h"
#include "editd/v1/transfer.pb.h"
#include "storage/base/file.h"
#include "storage/base/status.h"

namespace editd::client {

class Transfer {
 public:
  // Connects when first needed; `socket` is the transfer socket's path.
  explicit Transfer(std::string socket) : socket_(std::move(socket)) {}

  // Puts what `fd` (opened for reading) holds into the store. `name` is for messages. The entry has id and size, no
  // name.
  absl::StatusOr<v1::FileEntry> PutAsset(int fd, std::string_view name);
  absl::StatusOr<UniqueFd> GetAsset(std::string_view id);
  absl::StatusOr<UniqueFd> GetPack(std::string_view id);

 private:
  absl::StatusOr<v1::TransferResponse> Exchange(const v1::TransferRequest& request, int send_fd, UniqueFd* received);
  absl::StatusOr<UniqueFd> Get(const v1::TransferRequest& request, std::string_view what);

  const std::string socket_;
  UniqueFd fd_;
};

// Sends one packet with at most one descriptor (-1: none), and receives one. For Transfer and for tests' servers.
absl::Status SendPacket(int socket, std::string_view packet, int fd);
// An empty packet: the other end closed. `fd` is invalid if none came.
absl::StatusOr<std::string> ReceivePacket(int socket, UniqueFd* fd);

}  // namespace editd::client

#endif  // EDITD_CLIENT_TRANSFER_H_
