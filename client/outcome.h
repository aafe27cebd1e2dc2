// How a job ended, for people and for scripts.
#ifndef EDITD_CLIENT_OUTCOME_H_
#define EDITD_CLIENT_OUTCOME_H_

#include <string>

#include "client/plugin_types.h"
#include "editd/v1/job.pb.h"

namespace editd::client {

struct Outcome {
  std::string result;   // The plugin's result as text, lines of "  name: value"; may be empty.
  std::string summary;  // "job 3 succeeded in 3.4 s: smol-envi is 41f0a1b2c3d4"
  std::string next;     // The next useful command.
};

Outcome DescribeOutcome(const v1::Job& job, const PluginTypes& types);

// The last line of `submit --wait --json`: job, state, and what came of it.
std::string OutcomeJson(const v1::Job& job, const PluginTypes& types);

// From the first attempt's start to the end, seconds; 0 if nothing ran.
double RunSeconds(const v1::Job& job);

}  // namespace editd::client

#endif  // EDITD_CLIENT_OUTCOME_H_
