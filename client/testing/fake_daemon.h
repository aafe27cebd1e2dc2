// A daemon for the client's tests: a real gRPC server and a real transfer socket in a folder of its own, with answers
// that a test lays out. What it does not know, it answers with NOT_FOUND.
//
// Set the answers before the client calls; the calls are then thread-safe.
#ifndef EDITD_CLIENT_TESTING_FAKE_DAEMON_H_
#define EDITD_CLIENT_TESTING_FAKE_DAEMON_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "editd/v1/service.pb.h"
#include "storage/base/status.h"
#include "storage/base/testing.h"

namespace editd::client {

class FakeDaemon {
 public:
  FakeDaemon();
  ~FakeDaemon();

  std::string state_dir() const { return folder_.path(); }
  std::string socket() const { return folder_.path() + "/editd.sock"; }
  std::string transfer_socket() const { return folder_.path() + "/transfer.sock"; }

  // The serving ends, as when the daemon is killed, and begins again.
  void Stop();
  void Start();

  // Answers.
  std::map<std::string, v1::Plugin> plugins;
  std::map<std::string, v1::Version> versions;  // By the name asked for.
  std::vector<v1::Model> models;
  std::map<uint64_t, v1::Job> jobs;
  std::vector<v1::Event> events;  // Of every job.
  uint64_t break_after = 0;       // The first watch breaks after this many events; 0: never.
  absl::Status break_with = absl::UnavailableError("Socket closed");
  std::map<std::string, std::string> contents;  // Assets and packs, by id.

  // What was asked.
  std::vector<v1::SubmitRequest> submitted;
  std::vector<uint64_t> watched_from;
  std::vector<std::string> put;  // Contents, in order; the asset's id is "asset-N".

 private:
  class Service;
  struct Server;
  TemporaryDirectory folder_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<Server> server_;
};

// The plugin "trim" with its real descriptors, which the build lays beside the tests.
v1::Plugin TrimPlugin();

}  // namespace editd::client

#endif  // EDITD_CLIENT_TESTING_FAKE_DAEMON_H_
