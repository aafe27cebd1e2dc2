// A plugin for tests that is a script: what its worker shall do stands in the job's params.
//
// Commands are separated by `;`:
//   say T, err T, log T     a line on standard output, on standard error, in the log
//   bad_byte                a line that is not UTF-8, on standard error
//   progress N, metric N    a frame
//   tell T                  a piece of text
//   sleep MS, beat MS       wait; with beat, heartbeats meanwhile
//   wait_stop               wait for StopRequest
//   ignore_term             SIGTERM does nothing from now on
//   keep T, tell_kept       keep a checkpoint; log what an earlier attempt kept
//   hang                    wait for ever, silently
//   exit N, signal N        end like that, without a reply
//   alloc BYTES             allocate; exits with 86 if that fails
//   garbage                 send what is no frame
//   error T, refuse T       reply with an error
//   version N               reply with a version of one tensor, the floats N, N + 1, N + 2
//   reuse                   reply with a version of the first input's tensors and files
//   export NAME             add a file for the client
//   result T                add a result (an editd.v1.LogLine with that text)
// In a check: finding T, estimate BYTES, check_say T, check_exit N, check_hang, check_error CODE; others do nothing.
#ifndef EDITD_DAEMON_TESTING_FAKE_PLUGIN_H_
#define EDITD_DAEMON_TESTING_FAKE_PLUGIN_H_

#include <google/protobuf/any.pb.h>

#include <string>
#include <string_view>

#include "editd/v1/plugin.pb.h"

namespace editd::daemon {

// What it says of itself. A name that begins with "make" makes versions; one that begins with "join" reads 1 model.
v1::Plugin FakePlugin(const std::string& name);

// Params with this script, and a path if it is not empty.
google::protobuf::Any FakeParams(std::string_view script, std::string_view path = "");

// The script in the wire bytes of params.
std::string ScriptOf(std::string_view spec);

}  // namespace editd::daemon

#endif  // EDITD_DAEMON_TESTING_FAKE_PLUGIN_H_
