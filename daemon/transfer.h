// The transfer socket: files in and out of the store as descriptors (editd/v1/transfer.proto).
//
// The daemon opens no path that a client names: the client opens the file with its own rights and sends the descriptor,
// and gets read-only descriptors of packs and assets back. Each connection has a thread of its own; hashing and copying
// happen there, not on the core thread.
#ifndef EDITD_DAEMON_TRANSFER_H_
#define EDITD_DAEMON_TRANSFER_H_

#include <list>
#include <mutex>
#include <string>
#include <thread>

#include "daemon/listener.h"
#include "storage/store.h"

namespace editd::daemon {

class TransferServer {
 public:
  explicit TransferServer(storage::Store* store) : store_(store) {}
  ~TransferServer() { Stop(); }

  Listener* listener() { return &listener_; }
  absl::Status Start();
  // Ends every connection and waits for its thread.
  void Stop();

 private:
  struct Connection {
    UniqueFd socket;
    std::thread thread;
    bool done = false;
  };

  void Accept(UniqueFd socket);
  void Serve(int socket);

  storage::Store* const store_;
  Listener listener_;
  std::mutex mutex_;
  std::list<Connection> connections_;  // Guarded by mutex_.
};

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_TRANSFER_H_
